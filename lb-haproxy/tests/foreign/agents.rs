//! Agents of servers: what they say counts.

use std::time::Duration;

use lb_core::{ConditionKind, Driver as _, EndpointState, Report};
use lb_haproxy::process::Executable;
use tokio::{time::Instant, time::sleep};

use super::{
    Agent, Desired, READY, Subject, Upstream, executables, name, side_by_side, support, until,
};

#[tokio::test]
async fn case_p10_what_an_agent_says_counts() {
    side_by_side(executables(), async |executable: Executable| {
        let port = support::free_port();
        let servers = format!(
            "  server-template slot 1-4 127.0.0.1:1 disabled weight 100 agent-check agent-inter 300ms agent-port {port}\n"
        );
        let subject = Subject::start(&executable, &servers).await;
        let version = subject.version;
        let (one, two) = (Upstream::start([127, 0, 0, 2]).await, Upstream::start([127, 0, 0, 3]).await);
        let first = Agent::start([127, 0, 0, 2], port, "up ready 100%").await;
        let _second = Agent::start([127, 0, 0, 3], port, "up ready 100%").await;
        let mut desired = Desired::default();
        let mut driver = subject.driver(|_| {});
        let endpoints = [("one", one.at, READY, 100), ("two", two.at, READY, 100)];
        let both = desired.next(&endpoints);
        until(&mut driver, &both, |report| report.converged && report.conditions.is_empty()).await;
        for word in ["drain", "maint"] {
            first.says(word);
            let told = |report: &Report| {
                let agents = report.conditions.iter();
                agents.filter(|found| found.kind == ConditionKind::AgentHold).count() == 1
            };
            let report = until(&mut driver, &both, told).await;
            assert_eq!(report.conditions[0].endpoint, Some(name("one")), "{version:?}");
            // Two resyncs and more.
            let (before, end) = (one.count(), Instant::now() + Duration::from_millis(1000));
            while Instant::now() < end {
                let report = driver.converge(&both).await.unwrap();
                assert!(report.converged && report.unmet.is_empty(), "{report:?}");
                assert_eq!(subject.request().await, 200);
            }
            assert_eq!(one.count(), before, "{version:?}: {word}");
            // Another lb, as after a restart, does not know better.
            driver = subject.driver(|_| {});
            until(&mut driver, &both, told).await;
            for _ in 0..10 {
                assert_eq!(subject.request().await, 200);
            }
            assert_eq!(one.count(), before, "{version:?}: {word}");
            first.says("up ready 100%");
            until(&mut driver, &both, |report| report.conditions.is_empty()).await;
        }
        // Its weight is the agent's, until the source wants another one.
        first.says("up 75% ready");
        let weighed = |report: &Report| report.conditions.iter().any(|found| found.detail.contains("weight 75"));
        until(&mut driver, &both, weighed).await;
        sleep(Duration::from_millis(700)).await;
        assert!(weighed(&driver.converge(&both).await.unwrap()), "{version:?}");
        first.says("up ready");
        let fifty = desired.next(&[("one", one.at, READY, 50), endpoints[1]]);
        until(&mut driver, &fifty, |report| report.converged && report.conditions.is_empty()).await;
        // What the source takes out stays out, whatever the agent says.
        for state in [EndpointState::Down, EndpointState::Draining { grace: None }] {
            let out = desired.next(&[("one", one.at, state, 50), endpoints[1]]);
            until(&mut driver, &out, |report| report.converged).await;
            let before = one.count();
            first.says("up ready 100%");
            for _ in 0..70 {
                sleep(Duration::from_millis(10)).await;
                assert_eq!(subject.request().await, 200);
            }
            assert_eq!(one.count(), before, "{version:?}: {state:?}");
            // And it comes in again, with its agent heard.
            until(&mut driver, &both, |report| report.converged).await;
            first.says("drain");
            until(&mut driver, &both, |report| !report.conditions.is_empty()).await;
            first.says("up ready 100%");
            until(&mut driver, &both, |report| report.conditions.is_empty()).await;
        }
    })
    .await;
}

/// What an agent takes down is told of the agent, where nothing else looks at the server.
#[tokio::test]
async fn case_p10_an_agent_that_says_down_is_named() {
    side_by_side(executables(), async |executable: Executable| {
        let port = support::free_port();
        let servers = format!(
            "  server-template slot 1-2 127.0.0.1:1 disabled agent-check agent-inter 300ms agent-port {port}\n"
        );
        let subject = Subject::start(&executable, &servers).await;
        let one = Upstream::start([127, 0, 0, 2]).await;
        let agent = Agent::start([127, 0, 0, 2], port, "up ready").await;
        let mut desired = Desired::default();
        let mut driver =
            subject.driver(|policy| policy.admission_timeout = Duration::from_millis(400));
        let wanted = desired.next(&[("one", one.at, READY, 100)]);
        let silent = |report: &Report| report.converged && report.conditions.is_empty();
        until(&mut driver, &wanted, silent).await;
        for word in ["down", "stopped", "fail"] {
            agent.says(word);
            let told = |report: &Report| !report.conditions.is_empty();
            let report = until(&mut driver, &wanted, told).await;
            let condition = &report.conditions[0];
            assert_eq!(condition.kind, ConditionKind::AgentHold, "{word}: {condition}");
            assert_eq!(condition.endpoint, Some(name("one")), "{condition}");
            agent.says("up ready");
            until(&mut driver, &wanted, silent).await;
        }
    })
    .await;
}

/// The same of an agent that lets its server in again.
#[tokio::test]
async fn case_p10_an_agent_that_lets_its_server_in_is_seen_within_seconds() {
    side_by_side(executables(), async |executable: Executable| {
        let port = support::free_port();
        let servers = format!(
            "  server-template slot 1-2 127.0.0.1:1 disabled agent-check agent-inter 300ms agent-port {port}\n"
        );
        let subject = Subject::start(&executable, &servers).await;
        let one = Upstream::start([127, 0, 0, 2]).await;
        let agent = Agent::start([127, 0, 0, 2], port, "up ready").await;
        let wanted = Desired::default().next(&[("one", one.at, READY, 100)]);
        let silent = |report: &Report| report.converged && report.conditions.is_empty();
        for word in ["drain", "maint", "down"] {
            let mut driver =
                subject.driver(|policy| policy.admission_timeout = Duration::from_millis(400));
            until(&mut driver, &wanted, silent).await;
            agent.says(word);
            until(&mut driver, &wanted, |report| !report.conditions.is_empty()).await;
            drop(driver);
            // Another life, that reads everything at its beginning and then seldom.
            let mut driver = subject.driver(|policy| {
                policy.admission_timeout = Duration::from_millis(400);
                policy.resync = Duration::from_secs(30);
            });
            until(&mut driver, &wanted, |report| !report.conditions.is_empty()).await;
            agent.says("up ready");
            let began = Instant::now();
            until(&mut driver, &wanted, silent).await;
            let lag = began.elapsed();
            println!("{:?}: {word}: seen after {lag:?}", subject.version);
            assert!(lag < Duration::from_secs(3), "{:?}: {word}: {lag:?}", subject.version);
        }
    })
    .await;
}
