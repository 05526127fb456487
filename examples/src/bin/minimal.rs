//! The shortest real program: keeps three endpoints of the service `web` in a HAProxy that runs already, drains one of
//! them, and prints what happens.
//!
//! ```text
//! minimal /run/haproxy/admin.sock 10.0.0.1:80 10.0.0.2:80 10.0.0.3:80
//! ```

use std::error::Error;

use lb_core::{ControlPlane, Endpoint, Events, Record, RecordKey, Ticket, feed};
use lb_haproxy::{HaproxyDriver, TargetConfig};

const USAGE: &str = "usage: minimal SOCKET ADDRESS...  (HAProxy needs a backend `web` with slots)";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let socket = arguments.next().ok_or(USAGE)?;

    // The program's own source, and the HAProxy to keep in step with it.
    let (publisher, feed) = feed("program".parse()?);
    let target = TargetConfig::new("haproxy".parse()?, socket.parse()?);
    let plane = ControlPlane::builder()
        .source(feed)
        .target(HaproxyDriver::new(target))
        .build()?;
    let mut events = plane.handle().subscribe();
    let running = plane.spawn();

    let mut records = Vec::new();
    for address in arguments {
        let key = RecordKey::new("web".parse()?, format!("web-{}", records.len()).parse()?);
        records.push(Record::new(key, Endpoint::new(address.parse()?)));
    }
    let last = records.last().ok_or(USAGE)?.key.clone();
    print_until(&mut events, &publisher.reset(records)?).await?;
    print_until(&mut events, &publisher.drain(&last, None)?).await?;

    running.shutdown().await;
    Ok(())
}

/// Prints events until a write is in effect on every target.
async fn print_until(events: &mut Events, write: &Ticket) -> Result<(), Box<dyn Error>> {
    while let Some(event) = events.next().await {
        println!("{}", serde_json::to_string(&event)?);
        if event.event.puts_in_effect(write) {
            return Ok(());
        }
    }
    Err("the control plane ended".into())
}
