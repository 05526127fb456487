//! The shortest program does what it says.

use std::{process::Stdio, time::Duration};

use lb_examples::testbed::{Options, Testbed};
use lb_haproxy::process::Executable;
use tokio::{process::Command, time::timeout};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn minimal_fills_the_service_and_drains_the_last_endpoint() {
    let executable = Executable::find(None).unwrap();
    let options = Options::new(vec!["web".parse().unwrap()], 4);
    let mut bed = Testbed::start(executable, options).await.unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_minimal"));
    program.arg(bed.haproxy.socket()).kill_on_drop(true);
    let mut addresses = Vec::new();
    for _ in 0..3 {
        let address = bed.add_server().await.unwrap();
        program.arg(address.to_string());
        addresses.push(address);
    }
    let ended = program
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let ended = ended.unwrap().wait_with_output();
    let ended = timeout(Duration::from_secs(30), ended)
        .await
        .unwrap()
        .unwrap();
    assert!(ended.status.success(), "{ended:?}");

    let events = String::from_utf8(ended.stdout).unwrap();
    let verified = events
        .lines()
        .filter(|line| line.contains(r#""event":"verified""#));
    assert_eq!(verified.count(), 2, "{events}");
    let mut serving: Vec<_> = bed.haproxy.slots().await.unwrap();
    serving.retain(|slot| slot.serves());
    let mut serving: Vec<_> = serving
        .into_iter()
        .map(|slot| slot.address.unwrap())
        .collect();
    serving.sort();
    assert_eq!(serving, addresses[..2]);
}
