//! The file source against the contract of sources, on a real file system.
#![cfg(feature = "file")]
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use lb_core::{
    ControlPlane, FileSource, GuardConfig, GuardPolicy, Handle, Name, RecordKey, Running, Source,
    status::Health,
    testkit::conformance::{self, Ability, Harness},
};
use tempfile::TempDir;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// The way items are written to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// One file, replaced by renaming.
    Renamed,
    /// One file, written in place.
    InPlace,
    /// One file, reached by a link that is swapped together with its folder.
    Linked,
    /// A folder with a file for each item.
    Folder,
}

/// Items on disk.
struct Disk {
    style: Style,
    folder: TempDir,
    items: BTreeMap<u16, u16>,
    round: u32,
}

impl Disk {
    fn new(style: Style) -> Self {
        let mut disk = Self {
            style,
            folder: tempfile::tempdir().unwrap(),
            items: BTreeMap::new(),
            round: 0,
        };
        if style == Style::Folder {
            fs::create_dir(disk.path()).unwrap();
        } else {
            disk.write();
        }
        disk
    }

    fn path(&self) -> PathBuf {
        let file = match self.style {
            Style::Renamed => "items.toml",
            Style::InPlace => "items.yaml",
            Style::Linked => "items.json",
            Style::Folder => "items",
        };
        self.folder.path().join(file)
    }

    fn write(&mut self) {
        let endpoint = |item: u16| format!("127.0.0.1:{}", 1000 + item);
        self.round += 1;
        match self.style {
            Style::Renamed => {
                let mut text = "[services.web]\nendpoints = [\n".to_owned();
                for (item, version) in &self.items {
                    let address = endpoint(*item);
                    writeln!(
                        text,
                        "{{ id = \"e{item}\", address = \"{address}\", weight = {version} }},"
                    )
                    .unwrap();
                }
                text.push_str("]\n");
                let new = self.folder.path().join(".new");
                fs::write(&new, text).unwrap();
                fs::rename(new, self.path()).unwrap();
            }
            Style::InPlace => {
                let mut text = "services:\n  web:\n    endpoints:\n".to_owned();
                if self.items.is_empty() {
                    text = text.replace("endpoints:", "endpoints: []");
                }
                for (item, version) in &self.items {
                    let address = endpoint(*item);
                    writeln!(
                        text,
                        "    - {{id: e{item}, address: \"{address}\", weight: {version}}}"
                    )
                    .unwrap();
                }
                fs::write(self.path(), text).unwrap();
            }
            Style::Linked => {
                let endpoints: Vec<String> = self
                    .items
                    .iter()
                    .map(|(item, version)| {
                        let address = endpoint(*item);
                        format!(
                            r#"{{"id": "e{item}", "address": "{address}", "weight": {version}}}"#
                        )
                    })
                    .collect();
                let text = format!(
                    r#"{{"services": {{"web": {{"endpoints": [{}]}}}}}}"#,
                    endpoints.join(",")
                );
                let folder = format!("..round-{}", self.round);
                fs::create_dir(self.folder.path().join(&folder)).unwrap();
                fs::write(self.folder.path().join(&folder).join("items.json"), text).unwrap();
                let new = self.folder.path().join("..new");
                std::os::unix::fs::symlink(&folder, &new).unwrap();
                fs::rename(new, self.folder.path().join("..data")).unwrap();
                if self.round == 1 {
                    std::os::unix::fs::symlink("..data/items.json", self.path()).unwrap();
                } else {
                    let old = format!("..round-{}", self.round - 1);
                    fs::remove_dir_all(self.folder.path().join(old)).unwrap();
                }
            }
            Style::Folder => {
                for item in 0..64 {
                    let file = self.path().join(format!("{item}.toml"));
                    match self.items.get(&item) {
                        Some(version) => {
                            let address = endpoint(item);
                            let text = format!(
                                "[services.web]\nendpoints = [{{ id = \"e{item}\", address = \"{address}\", weight = {version} }}]\n"
                            );
                            if fs::read_to_string(&file).ok().as_ref() != Some(&text) {
                                fs::write(file, text).unwrap();
                            }
                        }
                        None => {
                            if file.exists() {
                                fs::remove_file(file).unwrap();
                            }
                        }
                    }
                }
            }
        }
    }
}

#[async_trait]
impl Harness for Disk {
    async fn source(&mut self) -> Box<dyn Source> {
        let source = FileSource::new(name("file"), self.path());
        Box::new(source.with_poll(Duration::from_millis(300)))
    }

    async fn put(&mut self, item: u16, version: u16) {
        self.items.insert(item, version);
        self.write();
    }

    async fn remove(&mut self, item: u16) {
        self.items.remove(&item);
        self.write();
    }

    fn key(&self, item: u16) -> RecordKey {
        RecordKey::new(name("web"), name(&format!("e{item}")))
    }

    async fn put_both(&mut self, items: [u16; 2], version: u16) -> Ability {
        if self.style == Style::Folder || self.style == Style::InPlace {
            return Ability::Cannot;
        }
        self.items.extend(items.map(|item| (item, version)));
        self.write();
        Ability::Done
    }

    async fn spoil(&mut self) -> Ability {
        if self.style != Style::Folder {
            return Ability::Cannot;
        }
        fs::write(
            self.path().join("bad.yaml"),
            "services: {web: {endpoints: [nowhere]}}",
        )
        .unwrap();
        Ability::Done
    }

    async fn unspoil(&mut self) {
        fs::remove_file(self.path().join("bad.yaml")).unwrap();
    }

    async fn interrupt(&mut self) -> Ability {
        fs::rename(self.path(), self.folder.path().join("away")).unwrap();
        Ability::Done
    }

    async fn heal(&mut self) {
        fs::rename(self.folder.path().join("away"), self.path()).unwrap();
    }

    async fn noise(&mut self) -> Ability {
        self.write();
        fs::write(self.folder.path().join("other.toml"), "not = \"ours\"").unwrap();
        if self.style == Style::Folder {
            fs::write(self.path().join("README.txt"), "not ours").unwrap();
            fs::write(self.path().join(".hidden.toml"), "not ours").unwrap();
        }
        Ability::Done
    }

    fn effort(&self) -> usize {
        30
    }
}

async fn keeps_the_contract(style: Style, skipped: &[&str]) {
    let report = conformance::run(Disk::new(style), 11).await;
    println!("{style:?}: {report}");
    assert!(report.passed(), "{report}");
    assert_eq!(report.skipped(), skipped, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_renamed_into_place_keeps_the_contract() {
    keeps_the_contract(Style::Renamed, &["P15", "P16"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_written_in_place_keeps_the_contract() {
    keeps_the_contract(Style::InPlace, &["P3", "P15", "P16"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_behind_a_swapped_link_keeps_the_contract() {
    keeps_the_contract(Style::Linked, &["P15", "P16"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_keeps_the_contract() {
    keeps_the_contract(Style::Folder, &["P3", "P15"]).await;
}

/// A control plane that follows one path, with hardly any polling, so that what is seen is seen by the system's word.
fn plane(path: &Path) -> (Running, Handle) {
    let source = FileSource::new(name("file"), path).with_poll(Duration::from_secs(600));
    let guard = GuardConfig::new(GuardPolicy::disabled());
    let plane = ControlPlane::builder().source(source).guard(guard);
    let running = plane.build().unwrap().spawn();
    let handle = running.handle();
    (running, handle)
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never happened: {what}");
}

fn ids(handle: &Handle) -> Vec<String> {
    let snapshot = handle.snapshot();
    let services = snapshot.services();
    services
        .flat_map(|(_, service)| service.endpoints().map(|(id, _)| id.to_string()))
        .collect()
}

#[tokio::test]
async fn every_way_to_change_a_file_is_seen_without_polling() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.toml");
    let text = |port: u16| format!("[services.s]\nendpoints = [\"1.1.1.1:{port}\"]\n");
    fs::write(&path, text(1)).unwrap();
    let (_running, handle) = plane(&path);
    eventually("read", || ids(&handle) == ["1.1.1.1:1"]).await;
    fs::write(&path, text(2)).unwrap();
    eventually("written in place", || ids(&handle) == ["1.1.1.1:2"]).await;
    fs::write(folder.path().join("new"), text(3)).unwrap();
    fs::rename(folder.path().join("new"), &path).unwrap();
    eventually("renamed", || ids(&handle) == ["1.1.1.1:3"]).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let goal = elsewhere.path().join("goal.toml");
    fs::write(&goal, text(4)).unwrap();
    std::os::unix::fs::symlink(&goal, folder.path().join("link")).unwrap();
    fs::rename(folder.path().join("link"), &path).unwrap();
    eventually("linked", || ids(&handle) == ["1.1.1.1:4"]).await;
    fs::write(&goal, text(5)).unwrap();
    eventually("the link's goal written", || ids(&handle) == ["1.1.1.1:5"]).await;
    // A writer that does not close the file.
    let mut open = fs::OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(&goal)
        .unwrap();
    std::io::Write::write_all(&mut open, text(6).as_bytes()).unwrap();
    eventually("written and left open", || ids(&handle) == ["1.1.1.1:6"]).await;
}

#[tokio::test]
async fn i2_a_broken_file_changes_nothing_says_where_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.yaml");
    fs::write(&path, "services:\n  s:\n    endpoints: [nowhere]\n").unwrap();
    let (_running, handle) = plane(&path);
    let told = || {
        let found = handle.status().sources.remove(0).diagnostics;
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    eventually("told", || told().len() == 1).await;
    assert!(
        told()[0].starts_with(&format!(
            "{}:3:17: services.s.endpoints[0] = \"nowhere\": expected an IP",
            path.display()
        )),
        "{:?}",
        told()
    );
    assert_eq!(handle.snapshot().generation(), 0, "nothing is known yet");
    fs::write(&path, "services: {s: {endpoints: [\"1.1.1.1:1\"]}}").unwrap();
    eventually("fixed", || ids(&handle) == ["1.1.1.1:1"]).await;
    eventually("no longer told", || told().is_empty()).await;
    // One value that cannot be read breaks the whole file.
    let good = "1.1.1.2:1";
    for bad in [
        "endpoints: [\"1.1.1.3:70000\"]",
        "endpoints: [{address: \"1.1.1.3:1\", weight: 257}]",
        "endpoints: [{address: \"1.1.1.3:1\", id: \"a b\"}]",
    ] {
        let text = format!("services: {{s: {{endpoints: [\"{good}\"]}}, t: {{{bad}}}}}");
        fs::write(&path, text).unwrap();
        eventually("told", || told().len() == 1).await;
        assert!(
            told()[0].contains("services.t.endpoints[0]"),
            "{:?}",
            told()
        );
        assert_eq!(ids(&handle), ["1.1.1.1:1"], "{bad}");
        fs::write(&path, "services: {s: {endpoints: [\"1.1.1.1:1\"]}}").unwrap();
        eventually("no longer told", || told().is_empty()).await;
    }
    // Emptied as a careless editor would: not a file that says there is nothing.
    fs::write(&path, "").unwrap();
    eventually("told", || told().len() == 1).await;
    assert_eq!(ids(&handle), ["1.1.1.1:1"]);
    fs::write(&path, "services: {s: {endpoints: []}}").unwrap();
    eventually("empty on purpose", || ids(&handle).is_empty()).await;
    assert!(told().is_empty());
}

#[tokio::test]
async fn case_p19_a_reading_of_a_broken_file_replaces_the_errors_of_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.toml");
    let endpoint = |more: &str| {
        format!("[services.s]\nendpoints = [\n  {{ address = \"10.0.0.1:{more} }},\n]\n")
    };
    let broken = [
        ("[services.web".to_owned(), "s.toml:1:"),
        ("\n\n[services.s]\nweight = \"x\"".to_owned(), "weight"),
        ("[services.s]\nbogus = 1".to_owned(), "bogus"),
        (String::new(), "s.toml"),
        (endpoint("1\", check_port = 0"), "check_port"),
        (endpoint("1\", check_port = 70000"), "70000"),
        (endpoint("1\", state = \"dead\""), "dead"),
    ];
    fs::write(&path, "[services.web").unwrap();
    let (_running, handle) = plane(&path);
    let told = || {
        let found = handle.status().sources.remove(0).diagnostics;
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let conditions = || {
        let all = handle.status().conditions;
        all.iter().filter(|one| one.object.is_some()).count()
    };
    // While nothing good was read yet, and after it.
    for (good, wrong) in [(None, 0), (Some("1\""), 0), (Some("0\""), 1)] {
        if let Some(good) = good {
            fs::write(&path, endpoint(good)).unwrap();
            eventually("read", || told().len() == wrong && ids(&handle).len() == 1).await;
        }
        for (text, expected) in &broken {
            fs::write(&path, text).unwrap();
            let only = || told().len() == 1 && told()[0].contains(expected);
            eventually(&format!("only {expected}"), only).await;
            eventually("one condition", || conditions() == 1).await;
        }
    }
    fs::write(&path, endpoint("1\"")).unwrap();
    eventually("none", || told().is_empty() && conditions() == 0).await;
}

#[tokio::test]
async fn i2_a_file_that_is_gone_leaves_its_source_stale_and_its_records_in_effect() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.toml");
    let source = FileSource::new(name("file"), &path).with_poll(Duration::from_millis(200));
    let running = ControlPlane::builder()
        .source(source)
        .build()
        .unwrap()
        .spawn();
    let handle = running.handle();
    let health = || handle.status().sources.remove(0).health;
    eventually("missing", || {
        matches!(health(), Health::NeverSynced { why: Some(why), .. } if why.contains("s.toml: No such file"))
    })
    .await;
    fs::write(&path, "[services.s]\nendpoints = [\"1.1.1.1:1\"]\n").unwrap();
    eventually("there", || {
        ids(&handle) == ["1.1.1.1:1"] && health().is_live()
    })
    .await;
    fs::remove_file(&path).unwrap();
    eventually("stale", || matches!(health(), Health::Stale { .. })).await;
    assert_eq!(ids(&handle), ["1.1.1.1:1"]);
    fs::write(
        &path,
        "[services.s]\nendpoints = [\"1.1.1.1:1\", \"2.2.2.2:2\"]\n",
    )
    .unwrap();
    eventually("back", || ids(&handle).len() == 2 && health().is_live()).await;
}
