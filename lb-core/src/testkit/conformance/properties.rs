//! The properties, one function each.

use std::{collections::BTreeMap, time::Duration};

use super::{
    follower::{Follower, Records, Store, View, describe},
    harness::{Ability, Harness},
    report::{ConformanceReport, Property, Verdict},
    story,
};
use crate::{
    backoff::Jitter,
    model::EndpointState,
    source::{Sink, Update},
};

/// The number of different items random operations use.
const ITEMS: u16 = 10;

/// Passed, or why it was skipped; or why it failed.
pub(super) type Checked = Result<Option<String>, String>;

/// Checks every property of the contract that the harness can check. See the [module](super).
///
/// Uses Tokio's time and tasks; takes seconds to minutes, depending on the server.
pub async fn run<H: Harness>(harness: H, seed: u64) -> ConformanceReport {
    let mut kit = Kit {
        harness,
        random: Jitter::new(seed),
        there: BTreeMap::new(),
    };
    let mut properties = Vec::new();
    let mut note = |id, says, checked: Checked| {
        let verdict = match checked {
            Ok(None) => Verdict::Passed,
            Ok(Some(why)) => Verdict::Skipped(why),
            Err(why) => Verdict::Failed(why),
        };
        properties.push(Property { id, says, verdict });
    };
    let (p1, log) = match kit.p1_convergence().await {
        Ok(log) => (Ok(None), log),
        Err(why) => (Err(why), Vec::new()),
    };
    let told = !log.is_empty();
    note("P1", "what was followed is what is there", p1);
    note(
        "P4",
        "revisions never go back, a reset comes first",
        if_told(told, || story::order(&log)),
    );
    note(
        "P5",
        "replaying the story changes nothing",
        if_told(told, || story::replay(&log)),
    );
    note(
        "P2",
        "writes between listing and watching are seen",
        kit.p2_no_gap().await,
    );
    note(
        "P3",
        "nobody sees half of a transaction",
        kit.p3_atomic().await,
    );
    note(
        "P7",
        "cut attempts leave nothing wrong",
        kit.p7_cuts().await,
    );
    note(
        "P9",
        "a cancelled attempt leaves nothing behind",
        kit.p9_cancel().await,
    );
    note(
        "P10",
        "a slow reader misses nothing",
        kit.p10_slow_reader().await,
    );
    note(
        "P12",
        "a fresh listing changes nothing",
        kit.p12_listing().await,
    );
    note(
        "P15",
        "draining is seen before removal",
        kit.p15_drain().await,
    );
    note(
        "P16",
        "one bad object disturbs no other",
        kit.p16_bad_object().await,
    );
    note("P18", "noise changes nothing", kit.p18_noise().await);
    note(
        "P8",
        "an interruption removes nothing",
        kit.p8_interruption().await,
    );
    note(
        "P11",
        "silence is bounded and noticed",
        kit.p11_silence().await,
    );
    ConformanceReport { seed, properties }
}

struct Kit<H> {
    harness: H,
    random: Jitter,
    /// The version of each item that is there.
    there: BTreeMap<u16, u16>,
}

impl<H: Harness> Kit<H> {
    async fn p1_convergence(&mut self) -> Result<Vec<Update>, String> {
        self.fill().await;
        let mut follower = self.follow().await;
        self.agree(&mut follower).await?;
        for _ in 0..self.harness.effort() {
            self.operate().await;
        }
        let view = self.agree(&mut follower).await?;
        let mut fresh = self.follow().await;
        self.agree(&mut fresh).await?;
        fresh
            .until("a fresh listing says what was followed", |fresh| {
                fresh.records == view.records
            })
            .await
            .map_err(|why| format!("{why}; followed: {}", describe(&view.records)))?;
        Ok(follower.log())
    }

    async fn p2_no_gap(&mut self) -> Checked {
        for _ in 0..6 {
            let mut follower = self.follow().await;
            for _ in 0..3 {
                let pause = self
                    .random
                    .between(Duration::ZERO, Duration::from_millis(5));
                tokio::time::sleep(pause).await;
                self.operate().await;
            }
            self.agree(&mut follower).await?;
        }
        Ok(None)
    }

    async fn p3_atomic(&mut self) -> Checked {
        let pair = [60, 61];
        if self.harness.put_both(pair, 1).await == Ability::Cannot {
            return cannot("the harness has no transactions");
        }
        let keys = pair.map(|item| self.harness.key(item));
        let mut follower = self.follow().await;
        for version in 2..40 {
            self.harness.put_both(pair, version).await;
        }
        let harness = &self.harness;
        let versions = |records: &Records| {
            keys.clone()
                .map(|key| records.get(&key).and_then(|record| harness.version(record)))
        };
        follower
            .until("both have the last version", |view| {
                versions(&view.records) == [Some(39); 2]
            })
            .await?;
        let mut store = Store::default();
        for update in follower.log() {
            store.apply(update);
            let [first, second] = versions(&store.in_effect);
            if first != second {
                return Err(format!(
                    "versions {first:?} and {second:?} were seen together"
                ));
            }
        }
        for item in pair {
            self.harness.remove(item).await;
        }
        Ok(None)
    }

    async fn p7_cuts(&mut self) -> Checked {
        let mut source = self.harness.source().await;
        for _ in 0..8 {
            let follower = Follower::start(source, self.harness.patience());
            let pause = self
                .random
                .between(Duration::ZERO, Duration::from_millis(20));
            tokio::time::sleep(pause).await;
            self.operate().await;
            source = follower.stop().await?;
            self.operate().await;
        }
        let mut follower = Follower::start(source, self.harness.patience());
        self.agree(&mut follower).await?;
        Ok(None)
    }

    async fn p8_interruption(&mut self) -> Checked {
        self.fill().await;
        let mut follower = self.follow().await;
        let before = self.agree(&mut follower).await?;
        let told = follower.log().len();
        if self.harness.interrupt().await == Ability::Cannot {
            return cannot("the harness cannot interrupt its server");
        }
        // Long enough for several attempts to fail; a source that does not even notice is fine.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let kept = self.kept(&follower, &before, told);
        self.harness.heal().await;
        kept?;
        self.operate().await;
        self.operate().await;
        self.agree(&mut follower).await?;
        Ok(None)
    }

    async fn p9_cancel(&mut self) -> Checked {
        let tasks = tokio::runtime::Handle::current().metrics();
        let tasks_before = tasks.num_alive_tasks();
        let holdings_before = self.harness.holdings().await;
        for _ in 0..3 {
            let mut follower = self.follow().await;
            self.agree(&mut follower).await?;
            drop(follower.stop().await?);
        }
        for _ in 0..50 {
            let holdings = self.harness.holdings().await;
            if tasks.num_alive_tasks() <= tasks_before && holdings <= holdings_before {
                return Ok(None);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(format!(
            "{} tasks and {:?} connections are left, expected {tasks_before} and {holdings_before:?}",
            tasks.num_alive_tasks(),
            self.harness.holdings().await
        ))
    }

    async fn p10_slow_reader(&mut self) -> Checked {
        let mut source = self.harness.source().await;
        let (sink, mut updates) = Sink::channel(1);
        let mut watch = source.watch(None, &sink);
        let unread = async {
            for _ in 0..self.harness.effort() / 2 {
                operate(&mut self.harness, &mut self.random, &mut self.there).await;
            }
        };
        tokio::select! {
            result = &mut watch => return Err(format!("the attempt ended: {result:?}")),
            () = unread => {}
        }
        let mut store = Store::default();
        let reading = async {
            loop {
                let wrong = disagreement(&self.harness, &self.there, &store.in_effect);
                if wrong.is_none() {
                    return Ok(None);
                }
                tokio::select! {
                    biased;
                    Some(update) = updates.recv() => {
                        store.apply(update);
                    }
                    result = &mut watch => return Err(format!("the attempt ended: {result:?}")),
                }
            }
        };
        let limit = self.harness.patience();
        match tokio::time::timeout(limit, reading).await {
            Ok(result) => result,
            Err(_) => Err("what was written while nobody read was lost".to_owned()),
        }
    }

    async fn p11_silence(&mut self) -> Checked {
        let source = self.harness.source().await;
        let Some(bound) = source.describe().liveness else {
            return cannot("the source's silence proves nothing");
        };
        if bound > Duration::from_secs(10) {
            return Ok(Some(format!("a bound of {bound:?} takes too long")));
        }
        let mut follower = Follower::start(source, self.harness.patience());
        let before = self.agree(&mut follower).await?;
        tokio::time::sleep(bound * 3).await;
        let silences = follower.view().silences - before.silences;
        if silences > 0 {
            return Err(format!(
                "silent {silences} times for {bound:?} without a reason"
            ));
        }
        let told = follower.log().len();
        if self.harness.silence().await == Ability::Cannot {
            return Ok(None);
        }
        let noticed = follower
            .until("a silent server is noticed", |view| {
                view.silences > before.silences || view.ended > before.ended
            })
            .await;
        let kept = self.kept(&follower, &before, told);
        self.harness.heal().await;
        noticed?;
        kept?;
        self.operate().await;
        self.agree(&mut follower).await?;
        Ok(None)
    }

    async fn p12_listing(&mut self) -> Checked {
        let mut follower = self.follow().await;
        let settled = self.agree(&mut follower).await?;
        let mut store = Store::default();
        for round in 0..3 {
            let mut fresh = self.follow().await;
            self.agree(&mut fresh).await?;
            fresh
                .until("listings agree", |view| view.records == settled.records)
                .await?;
            let listing = fresh
                .log()
                .into_iter()
                .find(|update| matches!(update, Update::Reset { .. }));
            let changed = listing.map_or(0, |listing| store.apply(listing));
            if round > 0 && changed > 0 {
                return Err(format!("listing again changed {changed} records"));
            }
        }
        if self.harness.forget().await == Ability::Done {
            self.operate().await;
            self.operate().await;
            self.agree(&mut follower).await?;
            let source = follower.stop().await?;
            self.operate().await;
            self.harness.forget().await;
            let mut follower = Follower::start(source, self.harness.patience());
            self.agree(&mut follower).await?;
        }
        Ok(None)
    }

    async fn p15_drain(&mut self) -> Checked {
        let item = 62;
        self.harness.put(item, 7).await;
        self.there.insert(item, 7);
        let mut follower = self.follow().await;
        self.agree(&mut follower).await?;
        let done = self.harness.drain_and_remove(item).await;
        if done == Ability::Cannot {
            self.harness.remove(item).await;
        }
        self.there.remove(&item);
        let view = self.agree(&mut follower).await?;
        if done == Ability::Cannot {
            return cannot("the harness knows no draining");
        }
        let key = self.harness.key(item);
        if view.seen_leaving.contains(&key) {
            return Ok(None);
        }
        Err(format!("{key} was gone without having been draining"))
    }

    async fn p16_bad_object(&mut self) -> Checked {
        self.fill().await;
        let mut follower = self.follow().await;
        let before = self.agree(&mut follower).await?;
        let told = follower.log().len();
        if self.harness.spoil().await == Ability::Cannot {
            return cannot("the harness has no bad object");
        }
        let named = follower
            .until("a diagnostic names the object", |view| {
                view.diagnostics.len() > before.diagnostics.len()
            })
            .await;
        let kept = self.kept(&follower, &before, told);
        self.operate().await;
        self.operate().await;
        let agreed = self.agree(&mut follower).await;
        let mut fresh = self.follow().await;
        let listed = self.agree(&mut fresh).await;
        self.harness.unspoil().await;
        named?;
        kept?;
        agreed?;
        listed?;
        self.operate().await;
        self.agree(&mut follower).await?;
        Ok(None)
    }

    async fn p18_noise(&mut self) -> Checked {
        self.fill().await;
        let mut follower = self.follow().await;
        let before = self.agree(&mut follower).await?;
        let told = follower.log().len();
        if self.harness.noise().await == Ability::Cannot {
            return cannot("the harness makes no noise");
        }
        // Something real behind the noise tells when the noise was worked through.
        let item = 63;
        self.harness.put(item, 9).await;
        self.there.insert(item, 9);
        self.agree(&mut follower).await?;
        let mut store = Store::default();
        for (number, update) in follower.log().into_iter().enumerate() {
            store.apply(update);
            let changed = before
                .records
                .iter()
                .find(|(key, record)| store.in_effect.get(*key) != Some(record));
            if let Some((key, _)) = changed.filter(|_| number >= told) {
                return Err(format!("noise changed {key}"));
            }
        }
        self.harness.remove(item).await;
        self.there.remove(&item);
        // What came with the last item goes with it; anything else came from the noise.
        follower
            .until("only what was there before the noise", |view| {
                view.records == before.records
            })
            .await?;
        Ok(None)
    }

    /// Makes sure that there are some items.
    async fn fill(&mut self) {
        for item in 0..3 {
            let version = self.there.get(&item).copied().unwrap_or(50);
            self.harness.put(item, version).await;
            self.there.insert(item, version);
        }
    }

    async fn operate(&mut self) {
        operate(&mut self.harness, &mut self.random, &mut self.there).await;
    }

    async fn follow(&mut self) -> Follower {
        let source = self.harness.source().await;
        Follower::start(source, self.harness.patience())
    }

    /// Waits until what was followed is what is there.
    async fn agree(&self, follower: &mut Follower) -> Result<View, String> {
        let wrong = |view: &View| disagreement(&self.harness, &self.there, &view.records);
        let agreed = follower
            .until("what was followed is what is there", |view| {
                view.synced && wrong(view).is_none()
            })
            .await;
        agreed.map_err(|why| match wrong(&follower.view()) {
            Some(wrong) => format!("{why}; {wrong}"),
            None => why,
        })
    }

    /// Nothing was taken away since the source had told so many updates.
    fn kept(&self, follower: &Follower, before: &View, told: usize) -> Result<(), String> {
        if let Some(violation) = follower.view().violation {
            return Err(violation);
        }
        let mut store = Store::default();
        for (number, update) in follower.log().into_iter().enumerate() {
            store.apply(update);
            let lost = before
                .records
                .keys()
                .find(|key| !store.in_effect.contains_key(*key));
            if let Some(lost) = lost.filter(|_| number >= told) {
                return Err(format!("{lost} was taken away"));
            }
        }
        Ok(())
    }
}

async fn operate<H: Harness>(harness: &mut H, random: &mut Jitter, there: &mut BTreeMap<u16, u16>) {
    let mut below = |most: u16| {
        let micros = random.between(Duration::ZERO, Duration::from_micros(u64::from(most) - 1));
        u16::try_from(micros.as_micros()).unwrap_or(0)
    };
    let item = below(ITEMS);
    if below(10) < 4 {
        harness.remove(item).await;
        there.remove(&item);
    } else {
        let version = 1 + below(200);
        harness.put(item, version).await;
        there.insert(item, version);
    }
}

/// The followed records that are not as they should be.
fn disagreement<H: Harness>(
    harness: &H,
    there: &BTreeMap<u16, u16>,
    records: &Records,
) -> Option<String> {
    (0..64).find_map(|item| {
        let key = harness.key(item);
        let record = records.get(&key).filter(|record| {
            let state = record.endpoint.as_ref().map(|endpoint| endpoint.state);
            state != Some(EndpointState::Down)
        });
        match (there.get(&item), record) {
            (None, None) => None,
            (None, Some(_)) => Some(format!("{key} is there, expected it to be gone")),
            (Some(_), None) => Some(format!("{key} is missing")),
            (Some(version), Some(record)) => {
                let shown = harness.version(record)?;
                (shown != *version)
                    .then(|| format!("{key} shows version {shown}, expected {version}"))
            }
        }
    })
}

fn if_told(told: bool, check: impl FnOnce() -> Checked) -> Checked {
    if told {
        check()
    } else {
        cannot("there is no story to check")
    }
}

fn cannot(why: &str) -> Checked {
    Ok(Some(why.to_owned()))
}
