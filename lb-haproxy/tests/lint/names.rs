//! Names of sections, maps, and configurations without slots.

use std::sync::Arc;

use lb_core::{Driver as _, Endpoint, Snapshot};
use lb_haproxy::{
    HaproxyDriver, TargetConfig,
    config::lint::{Code, ConfigFile, LintOptions, map_files},
};

use crate::{
    endpoint,
    support::executables,
    world::{
        RESTORED, World, always, ask, found, found_with, prepare, shows, starts, with_backend,
        with_lines,
    },
};

#[tokio::test]
async fn a_frontend_and_a_backend_of_one_name_are_refused_from_3_3_on() {
    for executable in executables() {
        let version = executable.version().await.unwrap();
        let good = with_lines("");
        let bad = good.replace("frontend in", "frontend b");
        // Older ones are warned of what comes.
        assert_eq!(found(&bad, &version), [Code::NameTwice]);
        assert_eq!(found(&good, &version), []);
        assert_eq!(starts(&executable, &bad).await, !version.at_least(3, 3));
        assert!(starts(&executable, &good).await);
    }
}

#[tokio::test]
async fn without_its_map_file_haproxy_does_not_start() {
    let text = with_lines("").replace(
        "default_backend b",
        "use_backend %[path,map_beg(DIR/routes.map,b)]",
    );
    for executable in executables() {
        let version = executable.version().await.unwrap();
        let (place, _) = prepare(&text);
        let config = std::fs::read_to_string(&place.config).unwrap();
        let file = ConfigFile {
            name: "haproxy.cfg",
            text: &config,
        };
        let mut options = LintOptions::default();
        options.version = Some(version.clone());
        let missing = |files: Vec<String>| -> std::collections::BTreeSet<String> {
            files
                .into_iter()
                .filter(|file| !std::path::Path::new(file).exists())
                .collect()
        };
        options.missing = missing(map_files(&[file]));
        assert_eq!(found_with(&config, &options), [Code::MapMissing]);
        let refused = lb_haproxy::process::check_config(&executable, &place.config).await;
        assert!(
            refused.unwrap_err().to_string().contains("routes.map"),
            "{version}"
        );

        std::fs::write(place.dir.path().join("routes.map"), "").unwrap();
        options.missing = missing(map_files(&[file]));
        assert_eq!(found_with(&config, &options), []);
        place.start(&executable).await;
    }
}

const SERVICES: &str = "DIR/lb-services.map";

/// Two spare backends, and this line in another backend.
fn with_spares(line: &str) -> String {
    let slots = format!("  server-template slot 1-2 {RESTORED} check\n");
    format!(
        "{}backend spare-http-1\n{slots}backend spare-http-2\n{slots}backend lb-unavailable\n{line}",
        with_lines("")
    )
}

/// Each control plane that begins finds the services where the one before has put them.
#[tokio::test]
async fn without_the_map_of_services_a_restart_moves_them() {
    let name = |text: &str| text.parse().unwrap();
    let mut edit = Snapshot::default().edit();
    let server = endpoint::Endpoint::start("a").await;
    edit.set_endpoint(&name("shop"), &name("1"), Endpoint::new(server.address));
    let wanted = Arc::new(edit.commit().unwrap());
    let line = format!(
        "  http-request set-var(txn.lb_service) str(-),map_str({SERVICES}) if {{ always_false }}\n"
    );
    shows(
        Code::ServicesNotKept,
        &with_spares(""),
        &with_spares(&line),
        always,
        async |executable, text| {
            let (place, _) = prepare(text);
            std::fs::write(place.dir.path().join("lb-services.map"), "").unwrap();
            let _haproxy = place.start(executable).await;
            let socket = place.dir.path().join("admin.sock");
            let mut found = std::collections::BTreeSet::new();
            for _ in 0..2 {
                let address = socket.display().to_string().parse().unwrap();
                let mut driver = HaproxyDriver::new(TargetConfig::new(name("edge"), address));
                loop {
                    let report = driver.converge(&wanted).await.unwrap();
                    let servers = ask(&socket, "show servers state").await.unwrap();
                    let serving = |line: &&str| {
                        let columns: Vec<&str> = line.split_whitespace().collect();
                        let is_spare = columns.get(1).is_some_and(|its| its.starts_with("spare-"));
                        is_spare
                            && columns
                                .get(6)
                                .is_some_and(|admin| ["0", "4"].contains(admin))
                    };
                    let serving = servers.lines().filter(serving);
                    found.extend(
                        serving.filter_map(|line| Some(line.split_whitespace().nth(1)?.to_owned())),
                    );
                    if report.converged || found.len() > 1 {
                        break;
                    }
                    tokio::time::sleep(report.again.unwrap_or_default()).await;
                }
                driver.close().await;
            }
            assert!(!found.is_empty());
            found.len() > 1
        },
    )
    .await;
}

#[test]
fn a_map_of_services_is_found_however_it_is_loaded() {
    let options = LintOptions::default();
    let mut renamed = LintOptions::default();
    renamed.policy.service_map = "other.map".to_owned();
    let mut none = LintOptions::default();
    none.policy.spare_http = String::new();
    let mut mapped = LintOptions::default();
    for number in ["1", "2"] {
        let backend = format!("spare-http-{number}").parse().unwrap();
        mapped
            .policy
            .backends
            .insert(number.parse().unwrap(), backend);
    }
    let set = |words: &str| format!("  http-request set-var(txn.s) str(-),{words}\n");
    for (line, options, expected) in [
        (String::new(), &options, true),
        (set("map_str(/a/lb-services.map,x)"), &options, false),
        (set("map(lb-services.map)"), &options, false),
        (set("map(/a/lb-services.map)"), &renamed, true),
        (set("map(/a/other.map)"), &renamed, false),
        (set("map(/a/my-lb-services.map)"), &options, true),
        (set("\"map(${MAPS}/services.map)\""), &options, false),
        (
            "  acl a str(-) -M -f /a/lb-services.map\n".to_owned(),
            &options,
            false,
        ),
        (String::new(), &none, false),
        (String::new(), &mapped, false),
    ] {
        let found = found_with(&with_spares(&line), options);
        assert_eq!(
            found.contains(&Code::ServicesNotKept),
            expected,
            "{line} {found:?}"
        );
    }
}

#[tokio::test]
async fn without_slots_an_endpoint_stays_unmet() {
    let name = |text: &str| text.parse().unwrap();
    let mut edit = Snapshot::default().edit();
    let endpoint = Endpoint::new("127.0.0.1:20001".parse().unwrap());
    edit.set_endpoint(&name("b"), &name("1"), endpoint);
    let desired = Arc::new(edit.commit().unwrap());
    shows(
        Code::NoSlots,
        &with_backend("  balance roundrobin\n"),
        &with_lines(""),
        always,
        async |executable, text| {
            let world = World::start(executable, text).await;
            let socket = world.place.dir.path().join("admin.sock");
            let socket = socket.display().to_string().parse().unwrap();
            let mut driver = HaproxyDriver::new(TargetConfig::new(name("edge"), socket));
            loop {
                let report = driver.converge(&desired).await.unwrap();
                if report.converged {
                    return !report.unmet.is_empty();
                }
                tokio::time::sleep(report.again.unwrap_or_default()).await;
            }
        },
    )
    .await;
}
