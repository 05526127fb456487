//! The program lb-register with real etcd.

use std::{
    io::Write,
    process::{Child, Command, ExitStatus, Stdio},
};

use crate::support::{
    api::Api,
    eventually,
    server::{Member, binaries, free_port},
};

const KEY: &str = "/lb/endpoints/web/web-1";

/// A run of the program. It ends with its value.
struct Program(Child);

impl Program {
    fn start(member: &Member, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lb-register"));
        command
            .args([
                "--etcd",
                &member.endpoint(),
                "--service",
                "web",
                "--id",
                "web-1",
            ])
            .args(["--address", "192.0.2.7:80", "--ttl", "60s"])
            .args(arguments)
            .stdin(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn signal(&self, name: &str) {
        let id = self.0.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &id])
                .status()
                .unwrap()
                .success()
        );
    }

    async fn end(&mut self) -> ExitStatus {
        eventually("the end of the program", || self.0.try_wait().unwrap()).await
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

async fn until(api: &Api, state: &str) {
    let text = format!("\"state\":\"{state}\"");
    eventually(state, || api.get(KEY).filter(|value| value.contains(&text))).await;
}

/// The endpoint is registered while the command runs, drains before the command is ended, and the command's status
/// is the program's.
#[tokio::test(flavor = "multi_thread")]
async fn i8_a_command_is_ended_after_its_drain() {
    for binary in binaries() {
        let member = Member::single(&binary);
        let api = member.api();
        let script = "trap 'exit 7' TERM; while :; do sleep 0.05; done";
        let mut program = Program::start(&member, &["--drain", "1s", "--", "sh", "-c", script]);
        until(&api, "ready").await;
        program.signal("TERM");
        until(&api, "draining").await;
        assert_eq!(
            program.0.try_wait().unwrap(),
            None,
            "the command serves on while it drains"
        );
        assert_eq!(program.end().await.code(), Some(7));
        assert_eq!((api.get(KEY), api.leases().len()), (None, 0));
    }
}

/// A command that ends by itself serves no more: its endpoint is gone at once, without a drain.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_ends_is_gone() {
    for binary in binaries() {
        let member = Member::single(&binary);
        let api = member.api();
        let mut program = Program::start(
            &member,
            &["--drain", "60s", "--", "sh", "-c", "sleep 1; exit 3"],
        );
        until(&api, "ready").await;
        assert_eq!(program.end().await.code(), Some(3));
        assert_eq!(api.get(KEY), None);
    }
}

/// Without a command it stands beside: it leaves on a signal, and a second one hastens it.
#[tokio::test(flavor = "multi_thread")]
async fn it_stands_beside_a_container() {
    for binary in binaries() {
        let member = Member::single(&binary);
        let api = member.api();
        let mut program = Program::start(&member, &["--drain", "60s"]);
        until(&api, "ready").await;
        program.signal("INT");
        until(&api, "draining").await;
        program.signal("TERM");
        assert_eq!(program.end().await.code(), Some(0));
        assert_eq!(api.get(KEY), None);
    }
}

/// As event handler of serf it writes members that join and removes those that fail.
#[tokio::test(flavor = "multi_thread")]
async fn it_handles_events_of_serf() {
    for binary in binaries() {
        let member = Member::single(&binary);
        let api = member.api();
        for (event, expected) in [
            ("member-join", Some("192.0.2.7:9001")),
            ("member-failed", None),
        ] {
            let mut child = Command::new(env!("CARGO_BIN_EXE_lb-register"))
                .args(["serf", "--etcd", &member.endpoint()])
                .args(["--entry", "/proxy/frontend/{name}={address}:{tag.port}"])
                .env("SERF_EVENT", event)
                .stdin(Stdio::piped())
                .spawn()
                .unwrap();
            let mut stdin = child.stdin.take().unwrap();
            stdin
                .write_all(b"web1\t192.0.2.7\tweb\tport=9001\n")
                .unwrap();
            drop(stdin);
            let mut program = Program(child);
            assert!(program.end().await.success());
            assert_eq!(api.get("/proxy/frontend/web1").as_deref(), expected);
        }
    }
}

/// A real serf agent, with the program as its event handler. It ends with its value.
fn agent(name: &str, ports: [u16; 2], handler: &str) -> Program {
    let [bind, rpc] = ports.map(|port| format!("127.0.0.1:{port}"));
    let mut command = Command::new("serf");
    command
        .args(["agent", "-profile=local", "-tag", "port=9001"])
        .arg(format!("-node={name}"))
        .arg(format!("-bind={bind}"))
        .arg(format!("-rpc-addr={rpc}"))
        .arg(format!("-event-handler={handler}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Program(command.spawn().unwrap())
}

/// Of two members that joined, one dies without a word: the other's agent removes its key, as the script of the
/// example with confd did.
#[tokio::test(flavor = "multi_thread")]
async fn real_agents_of_serf_write_and_remove() {
    if Command::new("serf")
        .arg("version")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        panic!("cannot run: no serf; install it");
    }
    for binary in binaries() {
        let member = Member::single(&binary);
        let api = member.api();
        let handler = format!(
            "member-join,member-failed={} serf --etcd {} --entry /proxy/frontend/{{name}}={{address}}:{{tag.port}}",
            env!("CARGO_BIN_EXE_lb-register"),
            member.endpoint()
        );
        let ports = || [free_port().port(), free_port().port()];
        let first = ports();
        let _stays = agent("web1", first, &handler);
        eventually("the first member", || api.get("/proxy/frontend/web1")).await;
        let second = ports();
        let dies = agent("web2", second, &handler);
        let address = format!("127.0.0.1:{}", first[0]);
        eventually("the second member joins", || {
            let joined = Command::new("serf")
                .arg("join")
                .arg(format!("-rpc-addr=127.0.0.1:{}", second[1]))
                .arg(&address)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            joined.unwrap().success().then_some(())
        })
        .await;
        let value = eventually("the second member", || api.get("/proxy/frontend/web2")).await;
        assert_eq!(value, "127.0.0.1:9001");
        drop(dies);
        eventually("no second member", || {
            api.get("/proxy/frontend/web2").is_none().then_some(())
        })
        .await;
        assert!(api.get("/proxy/frontend/web1").is_some());
    }
}
