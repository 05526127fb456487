//! What goes wrong in a world.

use std::time::Duration;

use lb_haproxy::simulator::{ConnectionId, Faults, Simulator};

use crate::{
    acts::traffic,
    clock,
    play::Play,
    scene::ROUTES,
    source::{Mode, Store},
    world::Trigger,
};

pub(crate) fn set_faults(play: &mut Play) {
    let faults = match play.random.below(3) {
        0 => Faults::default(),
        1 => Faults {
            refuse: play.random.below(100),
            cut_write: play.random.below(60),
            cut_reply: play.random.below(60),
            hang: play.random.below(20),
            delay: play.random.below(200),
            garbage: play.random.below(10),
        },
        _ => Faults {
            refuse: play.random.below(400),
            cut_write: play.random.below(250),
            cut_reply: play.random.below(250),
            hang: play.random.below(60),
            delay: play.random.below(300),
            garbage: play.random.below(20),
        },
    };
    play.network.set_faults(faults);
}

pub(crate) async fn kill(play: &mut Play) {
    if play.random.chance(600) {
        let lines = play.random.below(12);
        play.world.lock().armed = Some((lines, Trigger::Kill));
        return;
    }
    play.world.lock().counts.kills += 1;
    play.die().await;
    let down = match play.random.chance(500) {
        true => 0,
        false => play.random.below(4000),
    };
    traffic(play);
    tokio::time::sleep(Duration::from_millis(down)).await;
    play.live();
}

pub(crate) fn reload(play: &mut Play, trigger: Trigger) {
    if play.random.chance(500) {
        let lines = play.random.below(12);
        play.world.lock().armed = Some((lines, trigger));
        return;
    }
    let (network, world) = (play.network.clone(), play.world.clone());
    network.with(|simulator| {
        world
            .lock()
            .reload(simulator, clock::elapsed(), trigger == Trigger::Reload)
    });
    if trigger == Trigger::Restart || play.random.chance(500) {
        network.replace_socket();
    }
}

/// HAProxy is gone for a while, or ends and begins in the middle of something.
pub(crate) async fn restart(play: &mut Play) {
    if play.random.chance(400) {
        return reload(play, Trigger::Restart);
    }
    let (network, world) = (play.network.clone(), play.world.clone());
    let state = network.with(|simulator| {
        let mut world = world.lock();
        world.note(clock::elapsed(), format_args!("HAProxy ends"));
        world.counts.restarts += 1;
        let state = world
            .scene
            .restores
            .then(|| simulator.state_file())
            .flatten();
        world.keep_maps(simulator);
        simulator.stop();
        world.look(simulator, clock::elapsed(), false);
        state
    });
    tokio::time::sleep(Duration::from_millis(play.random.below(2000))).await;
    network.with(|simulator| {
        let mut world = world.lock();
        world.note(clock::elapsed(), format_args!("HAProxy begins"));
        simulator.restart(state.as_deref());
        world.look(simulator, clock::elapsed(), false);
    });
    network.replace_socket();
}

/// Somebody else changes something in HAProxy.
pub(crate) fn meddle(play: &mut Play) {
    let line = {
        let world = play.world.lock();
        let sights = world.sights.clone();
        drop(world);
        let Some(sight) = play.random.pick(&sights).cloned() else {
            return;
        };
        let title = format!("{}/{}", play.scene.backends[sight.place], sight.name);
        if sight.is_fixed() || play.scene.others == Some(sight.place) {
            // What an operator does with those is none of lb's business.
            return;
        }
        let pool = play.scene.pool.clone();
        let address = play.random.pick(&pool).copied().unwrap();
        match play.random.below(10) {
            0 | 1 => format!("set server {title} state maint"),
            2 => format!("set server {title} state drain"),
            3 => format!("set server {title} state ready"),
            4 => format!("set server {title} weight {}", play.random.below(257)),
            5 => format!(
                "set server {title} health {}",
                play.random.pick(&["up", "down"]).unwrap()
            ),
            6 => format!(
                "set server {title} addr {} port {}",
                address.ip(),
                address.port()
            ),
            7 => format!("disable health {title}"),
            8 => format!("del map {ROUTES} s0.example/"),
            _ => {
                let spare = play.random.pick(&["s0", "s1", "nobody"]).unwrap();
                // Entries that lead to what is not managed are another owner's.
                let managed = play.scene.backends[0].as_str();
                let spare = match play.scene.others {
                    Some(_) => &managed,
                    None => spare,
                };
                let key = play
                    .random
                    .pick(&["s0.example/", "s1.example/", "x.example/"])
                    .unwrap();
                format!("add map {ROUTES} {key} {spare}")
            }
        }
    };
    if play.scene.agents && (line.contains(" state ") || line.contains(" health down")) {
        // Nobody can tell it from the word of an agent, so it is left as it is.
        return;
    }
    let (network, world) = (play.network.clone(), play.world.clone());
    network.with(|simulator| {
        let mut world = world.lock();
        let now = clock::elapsed();
        world.look(simulator, now, false);
        world.note(now, format_args!("somebody says {line}"));
        world.counts.edits += 1;
        let Some(id) = simulator.connect() else {
            return;
        };
        say(simulator, id, &line);
        if line.contains(" map ") {
            world.meddled = Some(now);
        }
        if line.contains(" addr ") {
            let worker = world.worker;
            let was = world
                .sights
                .iter()
                .find(|sight| line.contains(&world.title(sight)));
            let was = was.and_then(|sight| Some((worker, sight.place, sight.address?)));
            world.taken.extend(was);
        }
        // Who makes a server ready whose address is about to change does not wait for that.
        if line.contains(" addr ") || line.contains("health ") || simulator.is_pending() {
            taint(&mut world, &line);
        }
        world.rebase(simulator, now);
    });
}

/// Another client points the check of a server elsewhere.
pub(crate) fn meddle_with_check(play: &mut Play) {
    let sights = play.world.lock().sights.clone();
    let Some(sight) = play
        .oddities
        .pick(&sights)
        .filter(|sight| !sight.is_fixed() && play.scene.others != Some(sight.place))
    else {
        return;
    };
    // Of two that differ nobody can tell which is right, once lb was killed.
    if std::mem::replace(&mut play.check_edited, true) {
        return;
    }
    let title = format!("{}/{}", play.scene.backends[sight.place], sight.name);
    let line = format!("set server {title} check-addr 10.66.6.6 port 1");
    let (network, world) = (play.network.clone(), play.world.clone());
    network.with(|simulator| {
        let mut world = world.lock();
        let now = clock::elapsed();
        world.look(simulator, now, false);
        world.note(now, format_args!("somebody says {line}"));
        world.counts.edits += 1;
        let Some(id) = simulator.connect() else {
            return;
        };
        say(simulator, id, &line);
        taint(&mut world, &line);
        world.rebase(simulator, now);
    });
}

pub(crate) fn taint(world: &mut crate::world::World, line: &str) {
    let title = line
        .split(' ')
        .find(|word| word.contains('/'))
        .unwrap_or_default()
        .to_owned();
    let backends = world.scene.backends.clone();
    for sight in &mut world.sights {
        if format!("{}/{}", backends[sight.place], sight.name) == title {
            sight.tainted = true;
            sight.known = false;
            sight.tainted_until = clock::elapsed() + Duration::from_millis(700);
        }
    }
}

pub(crate) fn say(simulator: &mut Simulator, id: ConnectionId, line: &str) {
    simulator.send(id, format!("{line}\n").as_bytes());
    simulator.disconnect(id);
}

pub(crate) fn disturb(play: &mut Play) {
    let at = play.random.below(play.stores.len() as u64) as usize;
    let store = play.stores[at].clone();
    match play.random.below(6) {
        0 | 1 => store.set_mode(Mode::Down),
        2 => store.set_mode(Mode::Hung),
        3 => store.renew(),
        4 => store.set_late(play.random.below(1500)),
        _ => store.set_mode(Mode::Up),
    }
    if play.random.chance(300) {
        play.stores
            .iter()
            .for_each(|store| store.set_mode(Mode::Up));
    }
}

/// Nothing runs for a while, and everything that was due comes at once.
pub(crate) async fn jump(play: &mut Play) {
    if play.stores.iter().any(Store::is_lying) {
        return;
    }
    let time = Duration::from_millis(play.random.below(6000));
    tokio::time::advance(time).await;
    // Whatever came before has not been seen by anybody.
    play.world.lock().worker_since = clock::elapsed();
}
