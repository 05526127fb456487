//! Others who change HAProxy of right or for their own ends: a control plane that manages the other backends, and a client
//! that fights over one server.

use std::time::Duration;

use lb_core::ConditionKind;
use lb_haproxy::{
    proto::AdminState,
    simulator::{Random, Simulator},
};

use crate::{
    clock,
    end::{idle, settle},
    play::Play,
    scene::{OTHERS, RESYNC, ROUTES},
    troubles::{say, taint},
    world::World,
};

/// The number of times a client may take a server out again before it is left alone: three times, and once where a new
/// worker or a new life of lb has not set it yet.
const ROUNDS: usize = 4;

/// For how long a server is then left alone.
const CALM: Duration = Duration::from_secs(300);

/// The other control plane changes something of its own.
pub(crate) fn act(play: &mut Play) {
    let line = line(&mut play.strangers);
    let (network, world) = (play.network.clone(), play.world.clone());
    network.with(|simulator| {
        let mut world = world.lock();
        let now = clock::elapsed();
        world.look(simulator, now, false);
        world.note(now, format_args!("the other owner says {line}"));
        let Some(id) = simulator.connect() else {
            return;
        };
        say(simulator, id, &line);
        world.look(simulator, now, false);
        world.note_theirs(simulator);
    });
}

fn line(random: &mut Random) -> String {
    let server = format!("{OTHERS}/slot{}", 1 + random.below(4));
    let host = random.pick(&["o1.example/", "o2.example/"]).unwrap();
    match random.below(8) {
        0 | 1 => format!(
            "set server {server} addr 10.77.0.{} port 8000",
            1 + random.below(5)
        ),
        2 => format!("set server {server} state maint"),
        3 | 4 => format!("set server {server} state ready"),
        5 => format!("set server {server} weight {}", random.below(257)),
        6 => format!("add map {ROUTES} {host} {OTHERS}"),
        _ => format!("del map {ROUTES} {host}"),
    }
}

impl World {
    /// The routes of the other control plane are these now.
    pub(crate) fn note_theirs(&mut self, sim: &Simulator) {
        self.theirs = sim
            .map_entries(ROUTES)
            .filter(|(_, value)| *value == OTHERS)
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
    }

    /// P7: no line takes a route of another control plane away.
    pub(crate) fn judge_owners(&mut self, sim: &Simulator, now: Duration) {
        if self.scene.others.is_none() {
            return;
        }
        let before = std::mem::take(&mut self.theirs);
        self.note_theirs(sim);
        if let Some((key, value)) = before.difference(&self.theirs.clone()).next() {
            self.broken(
                now,
                format_args!("P7: {key} led to {value}, another owner's, and does not any more"),
            );
        }
    }
}

/// Another client takes a server out each time that it is admitted: in the end it is left alone and reported, and
/// admitted again when that client is gone.
pub(crate) async fn fight(play: &mut Play) -> Result<(), String> {
    let Some((place, name)) = contested(play) else {
        return Ok(());
    };
    let title = format!("{}/{name}", play.scene.backends[place]);
    let mut rounds = 0;
    while rounds <= ROUNDS {
        if !is_ready(play, place, &name) {
            idle(play, 2 * RESYNC).await?;
        }
        if !is_ready(play, place, &name) {
            break;
        }
        // At once, or long after it was admitted.
        let millis = play.strangers.below(8000);
        idle(play, Duration::from_millis(millis)).await?;
        rounds += 1;
        take_out(play, &title);
    }
    if rounds > ROUNDS {
        return Err(format!("P7: {title} was fought over {rounds} times"));
    }
    let told = play.life.as_ref().is_some_and(|life| {
        let conditions = life.running.handle().status().conditions;
        conditions.iter().any(|condition| {
            condition.kind == ConditionKind::Contention
                && condition.object.as_deref() == Some(title.as_str())
        })
    });
    if !told {
        return Err(format!("P7: nothing tells that {title} is fought over"));
    }
    idle(play, CALM + 2 * RESYNC).await?;
    settle(play).await
}

/// A server that serves and that nothing else keeps out or replaces.
fn contested(play: &mut Play) -> Option<(usize, String)> {
    let world = play.world.lock();
    if play.scene.agents {
        // What an agent does is not told from what another client does.
        return None;
    }
    let exclusive = |place: usize| {
        let service = play.scene.owners[place];
        service.is_none_or(|at| play.scene.services[at].is_exclusive())
    };
    let serving: Vec<(usize, String)> = world
        .sights
        .iter()
        .filter(|sight| sight.admin == AdminState::Ready && !sight.is_fixed())
        .filter(|sight| sight.name.starts_with("slot") && !exclusive(sight.place))
        .map(|sight| (sight.place, sight.name.clone()))
        .collect();
    drop(world);
    play.strangers.pick(&serving).cloned()
}

fn is_ready(play: &Play, place: usize, name: &str) -> bool {
    let world = play.world.lock();
    let mut sights = world.sights.iter();
    sights
        .any(|sight| sight.place == place && sight.name == name && sight.admin == AdminState::Ready)
}

fn take_out(play: &Play, title: &str) {
    let line = format!("set server {title} state maint");
    let (network, world) = (play.network.clone(), play.world.clone());
    network.with(|simulator| {
        let mut world = world.lock();
        let now = clock::elapsed();
        world.look(simulator, now, false);
        world.note(now, format_args!("somebody says {line}"));
        let Some(id) = simulator.connect() else {
            return;
        };
        say(simulator, id, &line);
        taint(&mut world, &line);
        world.rebase(simulator, now);
    });
}
