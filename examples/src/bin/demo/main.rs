//! Shows `lb` at work: see `demo --help`.

mod arguments;
mod result;
mod screen;
mod story;

use std::{error::Error, process::ExitCode, sync::Arc, time::Duration};

use lb_core::Name;
use lb_examples::{
    testbed::{Desired, Options, Testbed},
    traffic::{Oracle, Running, now},
};
use lb_haproxy::process::Executable;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use arguments::{Arguments, HELP, Request};
use result::{Context, Outcomes};
use screen::{Colour, Screen, Standing};
use story::{Story, Told};

/// The end of the story.
enum End {
    Over,
    BrokeOff(String),
    Signal(u8),
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(Request::Run(arguments)) => arguments,
        Ok(Request::Help) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(wrong) => {
            eprintln!("demo: {wrong}\nTry \"demo --help\".");
            return ExitCode::from(2);
        }
    };
    match run(arguments).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("demo: {}", with_causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<ExitCode, Box<dyn Error>> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let mut screen = Screen::new(arguments.json);
    let executable = Executable::find(arguments.haproxy.as_deref())?;
    let version = executable.version().await?.to_string();
    let services = [Name::from_text("shop"), Name::from_text("blog")];
    let mut bed = Testbed::start(executable, Options::new(services.to_vec(), 16)).await?;
    let handle = bed.start_plane().await?;
    let prepared = tokio::select! {
        prepared = Story::prepare(&mut bed, &services) => prepared,
        _ = interrupted.recv() => return Ok(ExitCode::from(130)),
        _ = terminated.recv() => return Ok(ExitCode::from(143)),
    };
    prepared?;
    let title = format!(
        "HAProxy {version}, 2 services, {} users, {} s",
        arguments.users,
        arguments.length.as_secs()
    );
    screen.say(&screen.paint(Colour::Bold, &title));

    let mut load = bed.load(arguments.users, 0);
    load.pause = Duration::from_millis(10);
    load.at_least = arguments.length * 2 + Duration::from_secs(60);
    load.deadline = load.at_least;
    let users = load.start(Arc::clone(&bed.oracle));
    let (desired, oracle) = (Arc::clone(&bed.desired), Arc::clone(&bed.oracle));

    let (tell, mut told) = mpsc::channel(16);
    let story = Story {
        bed: &mut bed,
        services: services.clone(),
        length: arguments.length,
        began: now(),
        tell,
    };
    let began = story.began;
    let mut unmet = 0;
    let mut scene = String::new();
    let end = {
        let mut story = std::pin::pin!(story.play());
        let mut ticks = interval(Duration::from_millis(100));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let standing = || standing(began.elapsed(), &services, &users, &desired, &oracle);
            tokio::select! {
                biased;
                _ = interrupted.recv() => break End::Signal(130),
                _ = terminated.recv() => break End::Signal(143),
                Some(word) = told.recv() => match word {
                    Told::Scene(text) => scene = text,
                    Told::Done(text) => {
                        scene.clear();
                        let line = format!("{}  {text}", screen.standing(&standing()));
                        screen.say(&line);
                    }
                },
                played = &mut story => match played {
                    Ok(()) => break End::Over,
                    Err(error) => break End::BrokeOff(with_causes(&error)),
                },
                _ = ticks.tick() => {
                    let targets = handle.status().targets;
                    let now = targets.iter().map(|target| target.unmet_count).sum();
                    unmet = unmet.max(now);
                    screen.draw(&standing(), &scene);
                }
            }
        }
    };
    users.stop();
    let outcome = users.finish().await;
    let reloads = handle
        .status()
        .targets
        .iter()
        .filter_map(|target| target.counters.get("reloads"))
        .sum();
    let (broke_off, code) = match end {
        End::Over => (None, None),
        End::BrokeOff(why) => (Some(why), None),
        End::Signal(code) => (Some("interrupted".to_owned()), Some(code)),
    };
    let context = Context {
        haproxy: version,
        users: arguments.users,
        followed: desired.followed(),
        reloads,
        unmet,
        broke_off,
    };
    let outcomes = Outcomes::new(&outcome, context);
    outcomes.show(&mut screen);
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&outcomes)?);
    }
    bed.kill_plane().await;
    Ok(match code {
        Some(code) => ExitCode::from(code),
        None if outcomes.ok => ExitCode::SUCCESS,
        None => ExitCode::FAILURE,
    })
}

fn standing(
    elapsed: Duration,
    services: &[Name],
    users: &Running,
    desired: &Desired,
    oracle: &Oracle,
) -> Standing {
    let ready = desired.ready();
    let progress = users.progress();
    let count = |service: &Name| ready.iter().filter(|(_, owner)| owner == service).count();
    Standing {
        elapsed,
        endpoints: services
            .iter()
            .map(|service| (service.to_string(), count(service)))
            .collect(),
        requests: progress.answered + progress.lost,
        lost: progress.lost,
        misrouted: oracle.misrouted(),
    }
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(below) = cause {
        text.push_str(&format!(": {below}"));
        cause = below.source();
    }
    text
}
