//! The source against clusters that fail: each failure ends right, says what was seen, and takes no endpoint away.

use std::time::Duration;

use crate::support::{
    api::Api,
    server::{Member, Options, binaries, leader},
    supervisor::{Seen, Supervisor},
};
use lb_core::{Sink, Source};
use lb_etcd::{EtcdConfig, EtcdSource};

fn config(members: &[Member]) -> EtcdConfig {
    let mut config = EtcdConfig::new(members.iter().map(Member::endpoint));
    config.liveness = Duration::from_secs(4);
    config.connection.connect_timeout = Duration::from_secs(1);
    config.connection.request_timeout = Duration::from_secs(3);
    config.connection.keepalive_interval = Duration::from_secs(1);
    config.connection.keepalive_timeout = Duration::from_secs(1);
    config
}

fn source(config: EtcdConfig) -> EtcdSource {
    EtcdSource::new("etcd".parse().unwrap(), config).unwrap()
}

fn fill(api: &Api, count: usize) {
    let changes: Vec<_> = (0..count)
        .map(|n| {
            (
                format!("/lb/endpoints/web/e{n}"),
                Some(format!("192.0.2.1:{}", 1000 + n)),
            )
        })
        .collect();
    api.txn(&changes);
}

async fn listed(supervisor: &Supervisor, count: usize) -> Seen {
    supervisor
        .until("the first listing", |seen| {
            seen.resets == 1 && seen.records.len() == count
        })
        .await
}

/// The member in use dies, and it led: another one is followed, without a listing.
#[tokio::test(flavor = "multi_thread")]
async fn i2_the_leader_is_killed() {
    for binary in binaries() {
        let mut members = Member::three(&binary);
        let lost = leader(&members, 0);
        members.swap(0, lost);
        fill(&members[0].api(), 10);
        let supervisor = Supervisor::start(source(config(&members)));
        listed(&supervisor, 10).await;
        assert_eq!(
            supervisor.status.read().endpoint.as_deref(),
            Some(members[0].endpoint().as_str())
        );

        members[0].kill();
        leader(&members, 1);
        members[1]
            .api()
            .put("/lb/endpoints/web/new", "192.0.2.2:80");
        let seen = supervisor
            .until("the write after the kill", |seen| seen.records.len() == 11)
            .await;
        assert_eq!(
            (seen.resets, seen.fewest),
            (1, Some(10)),
            "{:?}",
            seen.errors
        );
        assert!(seen.resumes >= 1 && !seen.errors.is_empty());
        println!("{}: {:?}", members[1].version(), seen.errors);
    }
}

/// The member in use is frozen: it is left within the bounds of the keepalive, and another one is followed.
#[tokio::test(flavor = "multi_thread")]
async fn i2_a_member_is_frozen() {
    for binary in binaries() {
        let mut members = Member::three(&binary);
        let other = (leader(&members, 0) + 1) % 3;
        members.swap(0, other);
        fill(&members[0].api(), 10);
        let supervisor = Supervisor::start(source(config(&members)));
        listed(&supervisor, 10).await;

        members[0].freeze();
        members[1]
            .api()
            .put("/lb/endpoints/web/new", "192.0.2.2:80");
        let seen = supervisor
            .until("the write after the freeze", |seen| {
                seen.records.len() == 11
            })
            .await;
        members[0].thaw();
        assert_eq!(
            (seen.resets, seen.fewest),
            (1, Some(10)),
            "{:?}",
            seen.errors
        );
        println!("{}: {:?}", members[1].version(), seen.errors);
    }
}

/// Two of three are frozen: the attempt ends and says that there is no leader; nothing is lost, and with the quorum
/// the writes come back.
#[tokio::test(flavor = "multi_thread")]
async fn i2_there_is_no_quorum() {
    for binary in binaries() {
        let members = Member::three(&binary);
        fill(&members[0].api(), 10);
        let supervisor = Supervisor::start(source(config(&members)));
        listed(&supervisor, 10).await;

        members[1].freeze();
        members[2].freeze();
        supervisor
            .until("no leader", |seen| {
                seen.error_has("no leader") && seen.errors.len() >= 3
            })
            .await;
        members[1].thaw();
        members[2].thaw();
        leader(&members, 0);
        members[0]
            .api()
            .put("/lb/endpoints/web/new", "192.0.2.2:80");
        let seen = supervisor
            .until("the write afterwards", |seen| seen.records.len() == 11)
            .await;
        assert_eq!(
            (seen.resets, seen.fewest),
            (1, Some(10)),
            "{:?}",
            seen.errors
        );
        println!("{}: {:?}", members[0].version(), seen.errors);
    }
}

/// The history is compacted while the source is away: it lists again, and says why.
#[tokio::test(flavor = "multi_thread")]
async fn compaction_while_disconnected_lists_again() {
    for binary in binaries() {
        let members = vec![Member::single(&binary)];
        let api = members[0].api();
        fill(&api, 10);
        let mut source = source(config(&members));
        let mut seen = Seen::default();
        attempt(&mut source, &mut seen, |seen| seen.resets == 1).await;

        for n in 0..20 {
            api.put("/lb/endpoints/web/e0", &format!("192.0.2.3:{}", 2000 + n));
        }
        let now = api.put("/lb/endpoints/web/e1", "192.0.2.3:3000");
        api.compact(now);
        attempt(&mut source, &mut seen, |seen| seen.resets == 2).await;
        assert_eq!(seen.records.len(), 10);
        let moved = seen.records.values().filter(|record| {
            let address = record.endpoint.as_ref().unwrap().address.to_string();
            ["192.0.2.3:2019", "192.0.2.3:3000"].contains(&address.as_str())
        });
        assert_eq!(moved.count(), 2);
        let why = source.status().read().last_listing.unwrap();
        assert_eq!(why, "the history since the cursor has been compacted");
    }
}

/// Compaction of what was told already does not matter.
#[tokio::test(flavor = "multi_thread")]
async fn compaction_behind_the_cursor_does_not_list_again() {
    for binary in binaries() {
        let members = vec![Member::single(&binary)];
        let api = members[0].api();
        fill(&api, 10);
        let mut source = source(config(&members));
        let mut seen = Seen::default();
        attempt(&mut source, &mut seen, |seen| seen.resets == 1).await;
        let at = seen.cursor.as_ref().unwrap().revision;
        api.compact(at);
        api.put("/lb/endpoints/web/e0", "192.0.2.3:80");
        attempt(&mut source, &mut seen, |seen| seen.batches.len() == 1).await;
        assert_eq!((seen.resets, seen.resumes), (1, 1));
    }
}

/// One attempt, until what was seen fulfils a condition.
async fn attempt(source: &mut EtcdSource, seen: &mut Seen, condition: impl Fn(&Seen) -> bool) {
    let (sink, mut updates) = Sink::channel(1);
    seen.begin(seen.cursor.clone());
    let attempt = source.watch(seen.cursor.clone(), &sink);
    tokio::pin!(attempt);
    let deadline = tokio::time::sleep(crate::support::PATIENCE);
    tokio::pin!(deadline);
    while !condition(seen) {
        tokio::select! {
            ended = &mut attempt => panic!("{ended:?}"),
            Some(update) = updates.recv() => seen.take(update),
            () = &mut deadline => panic!("never happened: {seen:?}"),
        }
    }
}

/// The store is restored from an older copy: what it has is listed, and what was told of the other history is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_store_is_listed_again() {
    for binary in binaries() {
        let mut members = vec![Member::single(&binary)];
        let api = members[0].api();
        fill(&api, 10);
        members[0].kill();
        let backup = members[0].back_up();
        members[0].start().unwrap();
        let supervisor = Supervisor::start(source(config(&members)));
        listed(&supervisor, 10).await;
        for n in 0..5 {
            api.put(&format!("/lb/endpoints/web/lost{n}"), "192.0.2.4:80");
        }
        supervisor
            .until("the writes", |seen| seen.records.len() == 15)
            .await;

        members[0].kill();
        members[0].restore(&backup);
        members[0].start().unwrap();
        // More writes than were lost: the revision alone would not tell.
        for _ in 0..9 {
            api.put("/lb/endpoints/web/e0", "192.0.2.5:80");
        }
        let seen = supervisor
            .until("the restored keys, and what was written since", |seen| {
                seen.records.len() == 10
                    && seen.address("web/e0").as_deref() == Some("192.0.2.5:80")
            })
            .await;
        assert_eq!(seen.fewest, Some(10));
        let why = supervisor.status.read().last_listing.unwrap();
        assert!(
            why.contains("restored") || why.contains("compacted"),
            "{why}"
        );
        println!("{}: {why}; {:?}", members[0].version(), seen.errors);
    }
}

/// Another cluster answers at the same address: it is listed, whatever its revision.
#[tokio::test(flavor = "multi_thread")]
async fn another_cluster_is_listed_again() {
    for binary in binaries() {
        let mut members = vec![Member::single(&binary)];
        let api = members[0].api();
        fill(&api, 10);
        let supervisor = Supervisor::start(source(config(&members)));
        let first = listed(&supervisor, 10).await.cursor.unwrap();
        members[0].kill();
        members[0].become_another_cluster();
        members[0].start().unwrap();
        for _ in 0..3 {
            fill(&api, 7);
        }
        let seen = supervisor
            .until("the other cluster's keys", |seen| seen.records.len() == 7)
            .await;
        assert_ne!(seen.cursor.unwrap().epoch, first.epoch);
        println!(
            "{}: {:?}",
            members[0].version(),
            supervisor.status.read().last_listing
        );
    }
}

/// Tokens expire while the source is away and while it watches: it gets new ones and goes on.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_renewed() {
    for binary in binaries() {
        let options = Options {
            extra: vec!["--auth-token-ttl".to_owned(), "1".to_owned()],
            ..Options::default()
        };
        // Debian's 3.4 does not know the flag; its tokens live for five minutes, and a restart forgets them all.
        let knows_flag = std::process::Command::new(&binary)
            .args(["--auth-token-ttl", "1", "--version"])
            .output()
            .unwrap()
            .status
            .success();
        let options = if knows_flag {
            options
        } else {
            Options::default()
        };
        let mut members = vec![Member::single_with(&binary, options)];
        let api = members[0].api();
        fill(&api, 10);
        api.enable_auth();
        let mut with_user = config(&members);
        with_user.connection.auth = Some(lb_etcd::AuthConfig::new("reader", "secret"));
        let supervisor = Supervisor::start(source(with_user));
        listed(&supervisor, 10).await;

        // Longer than a token lives.
        let before = supervisor.seen().progress;
        supervisor
            .until("progress", |seen| seen.progress >= before + 3)
            .await;
        members[0].kill();
        members[0].start().unwrap();
        let token = api.authenticate();
        api.put_as(&token, "/lb/endpoints/web/new", "192.0.2.2:80");
        let seen = supervisor
            .until("the write", |seen| seen.records.len() == 11)
            .await;
        assert_eq!(
            (seen.resets, seen.fewest),
            (1, Some(10)),
            "{:?}",
            seen.errors
        );
        println!(
            "{}: flag {knows_flag}, {:?}",
            members[0].version(),
            seen.errors
        );
    }
}

/// Who is refused is told so: a wrong password, and no user where one is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_told() {
    for binary in binaries() {
        let members = vec![Member::single(&binary)];
        fill(&members[0].api(), 10);
        members[0].api().enable_auth();
        for (auth, expected) in [
            (
                Some(lb_etcd::AuthConfig::new("reader", "wrong")),
                "authentication failed",
            ),
            (None, "user name is empty"),
        ] {
            let mut config = config(&members);
            config.connection.auth = auth;
            let supervisor = Supervisor::start(source(config));
            let seen = supervisor
                .until("the refusal", |seen| seen.error_has(expected))
                .await;
            assert_eq!(seen.resets, 0);
        }
        // What lies outside the user's permissions is refused, too.
        let mut config = config(&members).with_layouts([lb_etcd::layout::LayoutConfig::Confd {
            prefix: "/other".to_owned(),
            service: None,
        }]);
        config.connection.auth = Some(lb_etcd::AuthConfig::new("reader", "secret"));
        let supervisor = Supervisor::start(source(config));
        supervisor
            .until("the refusal", |seen| seen.error_has("permission denied"))
            .await;
    }
}
