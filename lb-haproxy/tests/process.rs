//! HAProxy as a child: it starts, reloads, ends, and never stays behind.

#![expect(clippy::unwrap_used, reason = "a test may end in a panic")]

mod support;

use std::{
    cell::Cell, fs::Permissions, os::unix::fs::PermissionsExt as _, path::Path, process::Stdio,
    time::Duration,
};

use lb_haproxy::{
    ClientError,
    process::{Executable, Haproxy, ProcessError, check_config},
    proto::{Command, ServersState},
};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use support::{Place, executables};
use tokio::time::{sleep, timeout};

const CONFIG: &str = "\
global
  stats socket DIR/admin.sock level admin mode 600 expose-fd listeners
defaults
  mode http
  timeout client 5s
  timeout server 5s
  timeout connect 1s
frontend main
  bind 127.0.0.1:PORT
  default_backend web
backend web
  balance roundrobin
  server-template slot 1-3 127.0.0.1:1 disabled
";

const LONG: Duration = Duration::from_secs(60);

fn raw(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}

/// All its processes, master first.
async fn pids(haproxy: &Haproxy) -> Vec<Pid> {
    let processes = haproxy.processes().await.unwrap();
    assert_eq!(processes.master.pid, haproxy.pid());
    let workers = processes.workers.iter().chain(&processes.old_workers);
    let all: Vec<Pid> = std::iter::once(haproxy.pid())
        .chain(workers.map(|worker| worker.pid))
        .map(raw)
        .collect();
    assert!(all.len() >= 2, "a master and a worker: {all:?}");
    all
}

async fn all_end(pids: &[Pid]) {
    timeout(LONG, async {
        while pids.iter().any(|pid| test_kill_process(*pid).is_ok()) {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
}

fn append(place: &Place, text: &str) {
    let mut config = std::fs::read_to_string(&place.config).unwrap();
    config.push_str(text);
    std::fs::write(&place.config, config).unwrap();
}

#[tokio::test]
async fn a_reload_brings_a_new_worker_and_a_bad_one_changes_nothing() {
    for executable in executables() {
        let place = Place::new(CONFIG);
        let mut haproxy = place.start(&executable).await;
        let first = haproxy.connect().await.unwrap().epoch();
        append(&place, "  server more 127.0.0.1:1 disabled\n");
        haproxy.reload().await.unwrap();
        let mut client = haproxy.connect().await.unwrap();
        assert_ne!(client.epoch(), first);
        let show = Command::ShowServersState(Some("web".parse().unwrap()));
        let reply = client.exec(&show).await.unwrap();
        assert_eq!(ServersState::parse(reply.text()).unwrap().rows.len(), 4);

        append(&place, "  nonsense here\n");
        let error = haproxy.reload().await.unwrap_err();
        assert!(
            matches!(&error, ProcessError::Config { alerts, .. } if alerts.contains("nonsense")),
            "{error}"
        );
        assert!(
            error.to_string().contains("unknown keyword 'nonsense'"),
            "{error}"
        );
        assert_eq!(haproxy.connect().await.unwrap().epoch(), client.epoch());
        haproxy.stop().await.unwrap();
    }
}

/// A conversation that begins after a reload is for the new worker, whichever of the two HAProxy hands it to: the one
/// before it has been told to stop by then.
#[tokio::test]
async fn a_reload_waits_for_the_worker_that_stops() {
    for executable in executables() {
        // Who hands on his sockets is needed for that, awake.
        let place = Place::new(&CONFIG.replace(" expose-fd listeners", ""));
        let at = |name: &str| place.dir.path().join(name);
        // The check of the configuration stops the worker that serves, as a busy machine may.
        let script = format!(
            "#!/bin/sh\ncase $1 in -c) [ ! -f {old} ] || kill -STOP $(cat {old});; esac\nexec {real} \"$@\"\n",
            old = at("old").display(),
            real = executable.path().display(),
        );
        std::fs::write(at("haproxy"), script).unwrap();
        std::fs::set_permissions(at("haproxy"), Permissions::from_mode(0o700)).unwrap();
        let busy = Executable::find(Some(&at("haproxy"))).unwrap();
        let mut haproxy = place.start(&busy).await;
        let old = haproxy.connect().await.unwrap().info().pid;
        std::fs::write(at("old"), old.to_string()).unwrap();
        let awake = Cell::new(false);
        let goes_on = async {
            sleep(Duration::from_secs(1)).await;
            awake.set(true);
            kill_process(raw(old), Signal::CONT).unwrap();
            sleep(LONG).await;
        };
        tokio::select! {
            done = haproxy.reload() => done.unwrap(),
            () = goes_on => panic!("the reload has no end"),
        }
        assert!(awake.get(), "nobody has told the worker before");
        haproxy.stop().await.unwrap();
    }
}

/// The worker before still takes some of what comes to the socket that both have, if it is given time to stop.
#[tokio::test]
async fn a_conversation_is_with_the_worker_that_stays() {
    for executable in executables() {
        if !executable.version().await.unwrap().at_least(2, 6) {
            continue;
        }
        let place = Place::new(&CONFIG.replace("global\n", "global\n  grace 2s\n"));
        let mut haproxy = place.start(&executable).await;
        haproxy.reload().await.unwrap();
        let worker = haproxy.processes().await.unwrap().current().unwrap().pid;
        for _ in 0..20 {
            assert_eq!(haproxy.connect().await.unwrap().info().pid, worker);
        }
        haproxy.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_reload_that_only_fails_when_it_is_done_is_told_and_changes_nothing() {
    for executable in executables() {
        let place = Place::new(CONFIG);
        let mut haproxy = place.start(&executable).await;
        let before = haproxy.connect().await.unwrap().epoch();
        // The check does not bind, so a port that is taken is found by the worker only.
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        append(&place, &format!("listen more\n  bind 127.0.0.1:{port}\n"));
        let error = haproxy.reload().await.unwrap_err();
        assert!(matches!(error, ProcessError::Reload { .. }), "{error:?}");
        assert_eq!(haproxy.connect().await.unwrap().epoch(), before);
    }
}

#[tokio::test]
async fn no_process_is_left_after_a_stop_or_a_drop() {
    for executable in executables() {
        let place = Place::new(CONFIG);
        let haproxy = place.start(&executable).await;
        let all = pids(&haproxy).await;
        haproxy.stop().await.unwrap();
        all_end(&all).await;

        let mut haproxy = place.start(&executable).await;
        haproxy.reload().await.unwrap();
        let all = pids(&haproxy).await;
        drop(haproxy);
        all_end(&all).await;

        let haproxy = place.start(&executable).await;
        let all = pids(&haproxy).await;
        haproxy.stop_gracefully(LONG).await.unwrap();
        all_end(&all).await;
    }
}

#[tokio::test]
async fn a_start_that_fails_says_why_and_leaves_nothing() {
    for executable in executables() {
        let place = Place::new(CONFIG);
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        append(&place, &format!("listen more\n  bind 127.0.0.1:{port}\n"));
        let error = Haproxy::start(place.options(&executable))
            .await
            .unwrap_err();
        assert!(matches!(error, ProcessError::Exited { .. }), "{error:?}");
        assert!(error.to_string().contains(&port.to_string()), "{error}");
        let missing = check_config(&executable, Path::new("/none/haproxy.cfg")).await;
        assert!(
            matches!(missing, Err(ProcessError::Config { .. })),
            "{missing:?}"
        );
    }
    let missing = Executable::find(Some(Path::new("/none/haproxy")));
    assert!(matches!(missing, Err(ProcessError::NotFound { .. })));
}

#[tokio::test]
async fn a_crashed_worker_is_noticed() {
    for executable in executables() {
        let place = Place::new(CONFIG);
        let mut haproxy = place.start(&executable).await;
        let all = pids(&haproxy).await;
        for worker in all.iter().skip(1) {
            kill_process(*worker, Signal::KILL).unwrap();
        }
        timeout(LONG, async {
            while haproxy.exited().is_none() {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .unwrap();
        let error = haproxy.connect().await.unwrap_err();
        assert!(matches!(error, ClientError::Connect { .. }), "{error}");
    }
}

/// The part of the next test that is run as a process of its own, and killed.
#[tokio::test]
async fn parent_for_the_orphan_test() {
    let Ok(report) = std::env::var("LB_HAPROXY_ORPHAN_REPORT") else {
        println!("nothing to do: this test is the other one's child");
        return;
    };
    let executable = Executable::find(Some(Path::new(
        &std::env::var("LB_HAPROXY_ORPHAN_EXECUTABLE").unwrap(),
    )))
    .unwrap();
    let place = Place::new(CONFIG);
    let haproxy = place.start(&executable).await;
    let all: Vec<String> = pids(&haproxy)
        .await
        .iter()
        .map(|pid| pid.as_raw_nonzero().to_string())
        .collect();
    let whole = format!("{} {}\n", place.dir.path().display(), all.join(" "));
    std::fs::write(&report, whole).unwrap();
    sleep(LONG).await;
}

#[tokio::test]
async fn haproxy_ends_when_its_parent_is_killed() {
    for executable in executables() {
        let dir = tempfile::tempdir().unwrap();
        let report = dir.path().join("report");
        let mut parent = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "parent_for_the_orphan_test"])
            .env("LB_HAPROXY_ORPHAN_REPORT", &report)
            .env("LB_HAPROXY_ORPHAN_EXECUTABLE", executable.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let text = timeout(LONG, async {
            loop {
                match std::fs::read_to_string(&report) {
                    Ok(text) if text.ends_with('\n') => return text,
                    _ => sleep(Duration::from_millis(10)).await,
                }
            }
        })
        .await;
        parent.kill().unwrap();
        parent.wait().unwrap();
        let text = text.unwrap();
        let (folder, numbers) = text.trim().split_once(' ').unwrap();
        let all: Vec<Pid> = numbers
            .split(' ')
            .map(|number| raw(number.parse().unwrap()))
            .collect();
        all_end(&all).await;
        std::fs::remove_dir_all(folder).unwrap();
    }
}

#[tokio::test]
async fn an_executable_tells_its_version() {
    for executable in executables() {
        let version = executable.version().await.unwrap();
        assert!(version.at_least(2, 0), "{version}");
        let place = Place::new(CONFIG);
        let haproxy = place.start(&executable).await;
        assert_eq!(haproxy.connect().await.unwrap().info().version, version);
    }
}
