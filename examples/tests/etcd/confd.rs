//! The example with confd, serf and a script, with `lb` in place of confd and its reloads.

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use lb_examples::traffic::Running;

use crate::{
    support::server::free_port,
    users::{self, answers, judge, until},
    world::{World, over_etcds, path},
};

/// A process of the test's own. It ends with its value.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Self {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
        Self(quiet.stderr(Stdio::null()).spawn().unwrap())
    }

    fn terminate(&self) {
        let id = self.0.id().to_string();
        let sent = Command::new("kill").args(["-s", "TERM", &id]).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Stands beside an endpoint and keeps its key while it lives.
fn registrar(world: &World, id: &str, address: SocketAddr) -> Process {
    let entry = format!("{}={address}", path(&world.services[0], id));
    let mut command = Command::new(env!("CARGO_BIN_EXE_registrar"));
    command.args(["--etcd", &world.etcd.endpoint(), "--ttl", "2s"]);
    Process::start(command.args(["--entry", &entry]))
}

/// An agent of serf on the host of an endpoint, which writes the members that it sees join and removes those that
/// it sees fail.
fn agent(world: &World, id: &str, address: SocketAddr, ports: [u16; 2]) -> Process {
    let handler = format!(
        "member-join,member-failed={} serf --etcd {} --entry {}={{tag.ip}}:{{tag.port}}",
        env!("CARGO_BIN_EXE_registrar"),
        world.etcd.endpoint(),
        path(&world.services[0], "{name}"),
    );
    let [bind, rpc] = ports.map(|port| format!("127.0.0.1:{port}"));
    let mut command = Command::new("serf");
    command
        .args(["agent", "-profile=local"])
        .arg(format!("-node={id}"))
        .args(["-tag", &format!("ip={}", address.ip())])
        .args(["-tag", &format!("port={}", address.port())])
        .arg(format!("-bind={bind}"))
        .arg(format!("-rpc-addr={rpc}"))
        .arg(format!("-event-handler={handler}"));
    Process::start(&mut command)
}

/// Kills an endpoint and whoever vouches for it, at once, and waits until it is out. Only what was in flight there
/// may fail meanwhile.
async fn kill(world: &mut World, users: &Running, id: &str, address: SocketAddr, voucher: Process) {
    let service = world.services[0].clone();
    users.excuse_failures(true);
    drop(voucher);
    world.bed.servers.get_mut(&address).unwrap().kill().await;
    world.gone(&service, id).await;
    users.excuse_failures(false);
    answers(users, 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_the_example_with_confd_needs_no_reload_and_loses_nothing() {
    over_etcds("confd", async |mut world| {
        let services = world.services.clone();
        let mut pool = Vec::new();
        for _ in 0..6 {
            pool.push((world.bed.add_server().await.unwrap(), None::<usize>));
        }
        let users = users::start(&world.bed, 20);

        // Keys appear, vanish and move from one directory to the other.
        for step in 0..60 {
            let (address, owner) = &mut pool[step * 5 % 6];
            let id = format!("web{}", address.ip());
            match *owner {
                None => {
                    world.put(&services[step % 2], &id, *address);
                    *owner = Some(step % 2);
                }
                Some(before) if step % 3 == 0 => {
                    world.delete(&services[before], &id);
                    *owner = None;
                }
                Some(before) => {
                    let (from, to) = (&services[before], &services[1 - before]);
                    world.txn(&[(from, &id, None), (to, &id, Some(*address))]);
                    *owner = Some(1 - before);
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        world.settle().await;
        answers(&users, 200).await;

        registered(&mut world, &users).await;
        if Command::new("serf")
            .arg("version")
            .stdout(Stdio::null())
            .status()
            .is_ok()
        {
            watched_by_serf(&mut world, &users).await;
        } else {
            panic!("cannot run: no serf; install it");
        }
        judge(users, 1000).await;
        assert_eq!(users::reloads(&world.bed), 0);
    })
    .await;
}

/// Keys under leases: one leaves on purpose, one is killed.
async fn registered(world: &mut World, users: &Running) {
    let service = world.services[0].clone();
    for killed in [false, true] {
        let address = world.bed.add_server().await.unwrap();
        // The oracle must know before the first request can come.
        world.bed.oracle.publish(address, &service);
        let mut process = registrar(world, "leased", address);
        world.comes(&service, "leased", address).await;
        let served = || world.bed.servers.get(&address).unwrap().requests();
        until("traffic", || served() > 0).await;
        if killed {
            kill(world, users, "leased", address, process).await;
        } else {
            process.terminate();
            world.gone(&service, "leased").await;
            assert!(process.0.wait().unwrap().success());
        }
    }
}

/// Keys that agents of serf write: one member dies, and the other one's agent removes its key.
async fn watched_by_serf(world: &mut World, users: &Running) {
    let service = world.services[0].clone();
    let ports = [(); 2].map(|()| [free_port().port(), free_port().port()]);
    let mut agents = Vec::new();
    for (id, ports) in [("serf1", ports[0]), ("serf2", ports[1])] {
        let address = world.bed.add_server().await.unwrap();
        world.bed.oracle.publish(address, &service);
        agents.push((id, address, agent(world, id, address, ports)));
        world.comes(&service, id, address).await;
    }
    until("the second member to join", || {
        let joined = Command::new("serf")
            .arg("join")
            .arg(format!("-rpc-addr=127.0.0.1:{}", ports[1][1]))
            .arg(format!("127.0.0.1:{}", ports[0][0]))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        joined.unwrap().success()
    })
    .await;
    let api = world.api();
    // It is the first one's agent that must know the second before that dies: its word comes with the join.
    until("the first member to see the second", || {
        let listed = Command::new("serf")
            .arg("members")
            .arg(format!("-rpc-addr=127.0.0.1:{}", ports[0][1]))
            .output();
        String::from_utf8_lossy(&listed.unwrap().stdout).contains("serf2")
    })
    .await;
    assert!(api.get(&path(&service, "serf2")).is_some());
    let (id, address, voucher) = agents.pop().unwrap();
    kill(world, users, id, address, voucher).await;
    assert!(api.get(&path(&service, "serf1")).is_some());
}
