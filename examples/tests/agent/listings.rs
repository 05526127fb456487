//! An engine with many labels, which is listed again and again.

use std::{net::SocketAddr, sync::Arc};

use crate::{
    crowd::Crowd,
    world::{NamedServer, World, eventually},
};

/// The number of times that all containers are listed.
const LISTINGS: u64 = 16;

/// The number of containers, of 1,000 labels each.
const CONTAINERS: usize = 150;

/// The most memory that the agent may take, in MiB. It took 62; where threads have memory of their own it was 98 and rising.
const MOST_MEMORY: u64 = 80;

/// The memory of the agent now, in MiB.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    kib.unwrap().parse::<u64>().unwrap() >> 10
}

/// Each listing is read on whichever thread is free. Where each thread gets memory of its own and keeps it, the agent grows
/// until every one has had the largest listing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_h04_listings_without_end_take_no_more_memory() {
    let world = World::start().await;
    let a = NamedServer::start("a");
    let tenant: SocketAddr = "192.0.2.1:80".parse().unwrap();
    let crowd = Crowd::start(tenant, CONTAINERS, Arc::default()).await;
    crowd.open();
    let host = crowd.host();
    let source = format!(
        "[[sources]]\nkind = \"docker\"\nconnection = {{ host = \"{host}\" }}\nreach = {{ from = \"host\" }}\n\
         resync_interval = \"100ms\"\n"
    );
    world.write(
        "agent.toml",
        &world
            .config("")
            .replace("[[targets]]", &format!("{source}[[targets]]")),
    );
    world.write_endpoints("services.toml", &[&a]);
    let agent = world.agent();
    world.until_served_by(&a);
    let mut most = 0;
    for number in 1..=LISTINGS {
        eventually(&format!("all is listed {number} times"), || {
            most = most.max(memory(agent.pid()));
            crowd.listings() > number
        });
    }
    assert!(most <= MOST_MEMORY, "the agent took {most} MiB");
}
