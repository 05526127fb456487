//! Containers with more labels than any has a use for.

use std::{fmt::Write as _, fs, time::Duration};

use crate::{
    containers::{config, follow},
    support::{
        engine::{Engine, available},
        follower::Follower,
    },
};

/// The time a change of the honest service may take; it took minutes.
const SOON: Duration = Duration::from_secs(20);

/// Runs a container with so many labels of a prefix.
fn run_labelled(engine: &Engine, name: &str, prefix: &str, count: usize) {
    let mut labels = format!("lb.service={name}\n");
    for number in 0..count {
        writeln!(labels, "{prefix}{number:06}=a value of no use to anything").unwrap();
    }
    let file = engine.dir().join(name);
    fs::write(&file, labels).unwrap();
    engine.run(name, &["--label-file", &file.display().to_string()]);
}

async fn until_ready(told: &Follower, count: usize) {
    let ready = told.until("the honest service", |told| told.ready("honest") == count);
    tokio::time::timeout(SOON, ready).await.unwrap();
}

/// One container has 100,000 labels, and of another an answer or event is larger than what is read of an object. Each is
/// reported once; the others are followed all the while.
#[tokio::test(flavor = "multi_thread")]
async fn case_h04_labels_without_number_hide_no_other_container() {
    if !available() {
        return;
    }
    let engine = Engine::start();
    let config = config(&engine);
    let told = follow(config.clone());
    engine.run("first", &["-l", "lb.service=honest"]);
    until_ready(&told, 1).await;
    run_labelled(&engine, "many", "lb.x", 100_000);
    run_labelled(&engine, "huge", "lb.y", 200_000);
    for turn in 0..2 {
        engine.docker(&["restart", "--time", "0", "many"]);
        engine.docker(&["restart", "--time", "0", "huge"]);
        let second = format!("second-{turn}");
        engine.run(&second, &["-l", "lb.service=honest"]);
        until_ready(&told, 2).await;
        engine.docker(&["rm", "-f", &second]);
        until_ready(&told, 1).await;
    }
    // One that begins with them there says the same.
    let anew = follow(config);
    until_ready(&anew, 1).await;
    for (what, follower) in [("followed", &told), ("listed", &anew)] {
        follower
            .until("both are reported", |told| {
                let of = |name: &str| {
                    let objects = told.diagnostics.iter().map(|one| one.to_string());
                    objects.filter(|text| text.contains(name)).count()
                };
                of("labels") >= 1 && of("larger than") >= 1
            })
            .await;
        follower.look(|told| {
            assert_eq!(told.errors, Vec::<String>::new(), "{what}");
            assert_eq!(told.resets, 1, "{what}");
            let mut all: Vec<String> = told.diagnostics.iter().map(|one| one.to_string()).collect();
            all.sort();
            all.dedup();
            let said: usize = all.iter().map(String::len).sum();
            assert!(all.len() <= 4 && said < 4000, "{what}: {all:?}");
            let records: Vec<String> = told.endpoints().into_keys().map(|key| key.0).collect();
            assert_eq!(records, ["honest"], "{what}");
        });
    }
}
