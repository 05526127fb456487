//! One seed, from beginning to end.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use lb_core::{ControlPlane, Event, GuardConfig, GuardPolicy, Running, backoff::BackoffConfig};
use lb_haproxy::simulator::{Network, Profile, Random, Simulator};
use tokio::time::sleep;

use crate::{
    acts, clock, end,
    scene::{self, HOLD, RESYNC, Scene},
    seed::{Kind, Options, Trace},
    source::Store,
    target::Watched,
    tenant::Tenant,
    world::{Counts, Shared, World},
};

/// The result of a seed.
#[derive(Debug)]
pub(crate) struct Played {
    pub(crate) version: (u32, u32),
    pub(crate) hash: u64,
    pub(crate) counts: Counts,
    pub(crate) violation: Option<String>,
    pub(crate) lines: Vec<String>,
}

/// The world of one seed, with the life of the control plane in it.
pub(crate) struct Play {
    pub(crate) world: Shared,
    pub(crate) network: Network,
    pub(crate) scene: Arc<Scene>,
    pub(crate) stores: Vec<Store>,
    /// The source of a hostile tenant.
    pub(crate) tenant: Option<Tenant>,
    pub(crate) random: Random,
    /// The numbers that exclusive services draw, so that worlds without any are as they were.
    pub(crate) swaps: Random,
    /// The same for agents and for checks that are pointed elsewhere.
    pub(crate) oddities: Random,
    /// The same for the tenant, the other owner and the fight.
    pub(crate) strangers: Random,
    /// If `true`, a check was pointed elsewhere.
    pub(crate) check_edited: bool,
    pub(crate) life: Option<Life>,
    pub(crate) lives: u64,
}

pub(crate) struct Life {
    pub(crate) running: Running,
    events: lb_core::Events,
    seq: Option<u64>,
    /// The last cursor of each source that led to a generation, and to a verified one.
    published: Vec<(String, String)>,
    verified: Vec<(String, String)>,
}

/// Plays a seed.
pub(crate) fn play(options: &Options) -> Played {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let keep = std::cell::RefCell::new(None);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            clock::begin();
            let mut play = Play::new(options);
            *keep.borrow_mut() = Some(play.world.clone());
            let installed = play.network.install();
            let result = play.run().await;
            drop(installed);
            result
        })
    }));
    drop(runtime);
    let world = keep.into_inner().unwrap();
    let mut world = world.lock();
    let violation = match outcome {
        Ok(Ok(())) => world.violation.take(),
        Ok(Err(text)) => Some(world.violation.take().unwrap_or(text)),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Some(format!("panic: {}", text.unwrap_or_default()))
        }
    };
    let trace = std::mem::take(&mut world.trace);
    Played {
        version: world.scene.version,
        hash: trace.hash(),
        counts: world.counts,
        violation,
        lines: trace.into_lines(),
    }
}

/// The version of a seed's HAProxy, and how many of its servers are no slots.
pub(crate) fn looks_like(options: &Options) -> ((u32, u32), usize) {
    let (scene, config) = Scene::new(&mut beginning(options), options);
    let servers = config.backends.iter().flat_map(|backend| &backend.servers);
    let by_hand = servers.filter(|server| scene::BY_HAND.contains(&server.name.as_str()));
    (scene.version, by_hand.count())
}

fn beginning(options: &Options) -> Random {
    Random::new(options.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed)
}

impl Play {
    fn new(options: &Options) -> Self {
        let mut random = beginning(options);
        let (scene, config) = Scene::new(&mut random, options);
        let scene = Arc::new(scene);
        let (major, minor) = scene.version;
        let mut simulator = Simulator::new(Profile::of(major, minor), config);
        let slow = options.has(Kind::SlowAddresses) && random.chance(100);
        simulator.set_address_delay(match slow {
            true => Duration::from_millis(random.below(600)),
            false => Duration::from_micros(random.below(4000)),
        });
        let may_lie = options.has(Kind::Lies) && random.chance(300);
        let stores: Vec<Store> = (0..scene.sources)
            .map(|at| Store::new(&format!("source{at}"), random.next(), may_lie))
            .collect();
        let network = Network::new(simulator, random.next());
        let tenant = scene.tenant.then(|| Tenant::new(options.seed));
        let world = Shared::new(World {
            options: options.clone(),
            tenant: tenant.as_ref().map(|tenant| tenant.store.clone()),
            scene: scene.clone(),
            stores: stores.clone(),
            random: Random::new(random.next()),
            trace: Trace::new(options),
            violation: None,
            hosts: Default::default(),
            desired: None,
            unwanted: Default::default(),
            worker: None,
            worker_since: Duration::ZERO,
            looked_at: Duration::ZERO,
            sights: Vec::new(),
            led: vec![None; scene.services.len()],
            rightly_led: vec![false; scene.services.len()],
            ceded: vec![false; scene.services.len()],
            words: Default::default(),
            theirs: Default::default(),
            armed: None,
            killed: Arc::default(),
            lb_lives: true,
            requests: Vec::new(),
            between: options.has(Kind::Between) && random.chance(600),
            long: options.has(Kind::LongRequests) && random.chance(600),
            taken: Vec::new(),
            meddled: None,
            counts: Counts::default(),
        });
        let observer = world.clone();
        network.set_observer(Box::new(move |simulator, now, moment| {
            observer.lock().after(simulator, now, moment)
        }));
        let (shown, now) = (world.clone(), Duration::ZERO);
        network.with(|simulator| shown.lock().look(simulator, now, false));
        world.lock().note(now, format_args!("{scene:?}"));
        Self {
            world,
            network,
            tenant,
            scene,
            stores,
            random,
            swaps: Random::new(options.seed ^ 0x5_3a95),
            oddities: Random::new(options.seed ^ 0x0dd_ac75),
            strangers: Random::new(options.seed ^ 0x57_ac75),
            check_edited: false,
            life: None,
            lives: 0,
        }
    }

    async fn run(&mut self) -> Result<(), String> {
        let by_hand = self.written_by_hand();
        acts::begin(self);
        self.live();
        let options = self.world.lock().options.clone();
        let steps = 10 + self.random.below(30);
        let killed = self.world.lock().killed.clone();
        for step in 0.. {
            if step >= steps && clock::elapsed() >= options.lasts {
                break;
            }
            let pause = match self.random.below(10) {
                0 => self.random.below(2500),
                1..4 => self.random.below(500),
                _ => self.random.below(120),
            };
            let pause = Duration::from_millis(pause + 1);
            if tokio::time::timeout(pause, killed.notified()).await.is_ok() {
                self.die().await;
                let down = self.random.below(3000);
                sleep(Duration::from_millis(down)).await;
                self.live();
            }
            self.listen()?;
            let (network, world) = (self.network.clone(), self.world.clone());
            network.with(|simulator| world.lock().pass_time(simulator, clock::elapsed()));
            if step < options.steps {
                acts::act(self).await;
            }
            acts::traffic(self);
            if let Some(violation) = self.world.lock().violation.clone() {
                return Err(violation);
            }
        }
        end::end(self).await?;
        let still = self.written_by_hand();
        if still != by_hand {
            return Err(format!("P8: {by_hand:?} became {still:?}"));
        }
        Ok(())
    }

    /// The lines of `show servers state` for servers that are no slots, without the time since they changed.
    fn written_by_hand(&self) -> Vec<String> {
        const SINCE_CHANGE: usize = 9;
        let state = self.network.with(|simulator| simulator.state_file());
        let state = state.unwrap_or_default();
        let lines = state.lines().map(|line| line.split(' '));
        lines
            .filter(|fields| {
                let name = fields.clone().nth(3);
                name.is_some_and(|name| scene::BY_HAND.contains(&name))
            })
            .map(|fields| {
                let kept = fields.enumerate().filter(|(at, _)| *at != SINCE_CHANGE);
                kept.map(|(_, field)| field).collect::<Vec<_>>().join(" ")
            })
            .collect()
    }

    /// A control plane begins, knowing nothing.
    pub(crate) fn live(&mut self) {
        let mut world = self.world.lock();
        world.lb_lives = true;
        world.desired = None;
        world.armed = None;
        for sight in &mut world.sights {
            // Of whom the life before let in the next one knows only what HAProxy shows.
            sight.marked_down_at = None;
        }
        world.note(clock::elapsed(), format_args!("lb begins"));
        drop(world);
        self.lives += 1;
        self.network.revive();
        let guard = GuardPolicy::default().with_hold(HOLD);
        let mut builder = ControlPlane::builder()
            .seed(self.random.next())
            .guard(GuardConfig::new(guard))
            .settle(self.scene.settle)
            .resync(RESYNC)
            .initial_limit(Duration::from_secs(2))
            .source_backoff(BackoffConfig::new(
                Duration::from_millis(200),
                Duration::from_secs(2),
                Duration::from_secs(5),
            ))
            .target_backoff(BackoffConfig::new(
                Duration::from_millis(50),
                Duration::from_secs(1),
                Duration::ZERO,
            ))
            .pass_limit(Duration::from_secs(20));
        for store in &self.stores {
            builder = builder.source(store.attach());
        }
        if let Some(tenant) = &self.tenant {
            builder = builder.source(tenant.store.attach());
        }
        let target = Watched::new(&self.scene, self.world.clone(), self.network.clone());
        let plane = builder.target(target).build().unwrap();
        let events = plane.handle().subscribe();
        self.life = Some(Life {
            running: plane.spawn(),
            events,
            seq: None,
            published: Vec::new(),
            verified: Vec::new(),
        });
    }

    /// The control plane is gone, wherever it was.
    pub(crate) async fn die(&mut self) {
        self.network.kill();
        self.world.lock().lb_lives = true;
        drop(self.life.take());
        // Its tasks are dropped when they would run next.
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
    }

    /// I10: events come without gaps, and what was published is verified in the end.
    pub(crate) fn listen(&mut self) -> Result<(), String> {
        let Some(life) = &mut self.life else {
            return Ok(());
        };
        while let Some(event) = life.events.try_next() {
            if let Event::Lost { .. } = event.event {
                life.seq = None;
                continue;
            }
            if life.seq.is_some_and(|seq| event.seq != seq + 1) {
                return Err(format!("I10: event {} follows {:?}", event.seq, life.seq));
            }
            life.seq = Some(event.seq);
            let (list, causes) = match &event.event {
                Event::Published { causes, .. } => (&mut life.published, causes),
                Event::Verified { causes, .. } | Event::Pass { causes, .. } => {
                    (&mut life.verified, causes)
                }
                _ => continue,
            };
            for cause in causes {
                let source = cause.source.to_string();
                list.retain(|(known, _)| *known != source);
                list.push((source, cause.cursor.to_string()));
            }
        }
        Ok(())
    }

    /// I10: the last cursor that changed anything was verified.
    pub(crate) fn evidence(&self) -> Result<(), String> {
        let Some(life) = &self.life else {
            return Ok(());
        };
        let sorted = |list: &[(String, String)]| {
            let mut list = list.to_vec();
            list.sort();
            list
        };
        let (published, verified) = (sorted(&life.published), sorted(&life.verified));
        if published != verified {
            return Err(format!(
                "I10: published {published:?}, verified {verified:?}"
            ));
        }
        Ok(())
    }
}
