//! What happens to the endpoints while the users go on.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use lb_core::{EndpointState, Name, RecordKey};
use lb_examples::{
    testbed::{Testbed, TestbedError, endpoint_at},
    traffic::{Answer, Ask, Client, Loss, Protocol, now},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::sleep,
};

/// A message of the story.
#[derive(Debug)]
pub(crate) enum Told {
    /// A scene begins.
    Scene(String),
    /// It ended as it should.
    Done(String),
}

/// Why the story broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoryError {
    #[error("the scene could not be played")]
    Testbed(#[from] TestbedError),
    #[error("a download from an endpoint that drained was not whole")]
    Download(#[source] Loss),
    #[error("no answer to a download")]
    NoAnswer,
}

pub(crate) struct Story<'a> {
    pub(crate) bed: &'a mut Testbed,
    pub(crate) services: [Name; 2],
    pub(crate) length: Duration,
    pub(crate) began: Instant,
    pub(crate) tell: mpsc::Sender<Told>,
}

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(30);
/// The time the download of the drained endpoint takes.
const DOWNLOAD: Duration = Duration::from_secs(3);

impl Story<'_> {
    /// Three endpoints for each service, before the users come.
    pub(crate) async fn prepare(
        bed: &mut Testbed,
        services: &[Name; 2],
    ) -> Result<(), TestbedError> {
        for service in services {
            for _ in 0..3 {
                let address = bed.add_server().await?;
                bed.desired.change([endpoint_at(service, address)], [])?;
            }
        }
        bed.verified(LIMIT).await?;
        bed.in_step(LIMIT).await
    }

    pub(crate) async fn play(mut self) -> Result<(), StoryError> {
        let [shop, blog] = self.services.clone();

        self.until(1).await;
        self.scene(format!("{shop} scales from 3 to 10")).await;
        for step in 0..7 {
            let address = self.bed.add_server().await?;
            self.desire(&shop, address, EndpointState::Ready)?;
            self.within(1, 4, step, 7).await;
        }
        self.settle().await?;
        self.done(format!("{shop} scaled from 3 to 10")).await;

        self.until(5).await;
        self.drain(&shop).await?;

        self.until(10).await;
        self.restart(&blog).await?;

        self.until(13).await;
        self.scene(format!(
            "{shop} scales from 9 to 2, {blog} takes over 4 of the addresses"
        ))
        .await;
        let mut leaving = self.addresses(&shop);
        let kept = leaving.split_off(leaving.len().saturating_sub(2));
        for (step, address) in leaving.iter().enumerate() {
            if step < 4 {
                self.hand_over(*address, &shop, &blog)?;
            } else {
                self.remove(&shop, *address)?;
            }
            self.within(13, 3, step, leaving.len()).await;
        }
        self.settle().await?;
        for address in leaving.iter().skip(4) {
            self.stop(&shop, *address).await?;
        }
        self.done(format!(
            "{shop} scaled down to {}, {blog} took over 4 addresses",
            kept.len()
        ))
        .await;

        self.until(17).await;
        self.scene(format!("{blog} gives 2 of the addresses back"))
            .await;
        for address in leaving.iter().take(2) {
            self.hand_over(*address, &blog, &shop)?;
        }
        self.settle().await?;
        self.done(format!("{blog} gave 2 of the addresses back"))
            .await;

        self.until(20).await;
        Ok(())
    }

    /// An endpoint leaves while a download runs there.
    async fn drain(&mut self, service: &Name) -> Result<(), StoryError> {
        self.scene(format!(
            "an endpoint of {service} leaves while it sends a download of 3 s"
        ))
        .await;
        let (address, download) = self.download(service).await?;
        self.desire(service, address, EndpointState::Draining { grace: None })?;
        self.settle().await?;
        let answer = download.await.map_err(|_| StoryError::NoAnswer)?;
        let whole = answer.map_err(StoryError::Download)?;
        self.remove(service, address)?;
        self.stop(service, address).await?;
        let size = whole.length / 1024;
        self.done(format!(
            "an endpoint of {service} left once its download was whole ({size} KiB)"
        ))
        .await;
        Ok(())
    }

    /// An endpoint goes down and comes back.
    async fn restart(&mut self, service: &Name) -> Result<(), StoryError> {
        self.scene(format!("an endpoint of {service} restarts"))
            .await;
        let Some(address) = self.addresses(service).first().copied() else {
            return Ok(());
        };
        self.desire(service, address, EndpointState::Down)?;
        self.settle().await?;
        if let Some(server) = self.bed.servers.get_mut(&address) {
            server.leave(LIMIT).await;
        }
        self.until(11).await;
        if let Some(server) = self.bed.servers.get_mut(&address) {
            let again = server.restart().await;
            again.map_err(|cause| TestbedError::Io {
                what: "restart an endpoint",
                cause,
            })?;
        }
        self.desire(service, address, EndpointState::Ready)?;
        self.settle().await?;
        self.done(format!("an endpoint of {service} restarted"))
            .await;
        Ok(())
    }

    /// Begins a download and tells who answers it.
    async fn download(
        &self,
        service: &Name,
    ) -> Result<(SocketAddr, JoinHandle<Result<Answer, Loss>>), StoryError> {
        let frontends = self.bed.frontends();
        let frontend = frontends.iter().find(|(name, _)| name == service);
        let (_, frontend) = frontend.ok_or(StoryError::NoAnswer)?;
        let mut client = Client::new(service.clone(), *frontend, Protocol::Http1);
        let (tell, told) = oneshot::channel();
        let download = tokio::spawn(async move {
            let ask = Ask::Download(DOWNLOAD);
            client
                .get_telling(ask, LIMIT, |address| {
                    // Whoever waits for it has gone only when the story is over.
                    let _ = tell.send(address);
                })
                .await
        });
        let address = told.await.map_err(|_| StoryError::NoAnswer)?;
        Ok((address, download))
    }

    fn desire(
        &self,
        service: &Name,
        address: SocketAddr,
        state: EndpointState,
    ) -> Result<(), TestbedError> {
        let (key, endpoint) = endpoint_at(service, address);
        Ok(self
            .bed
            .desired
            .change([(key, endpoint.with_state(state))], [])?)
    }

    fn remove(&self, service: &Name, address: SocketAddr) -> Result<(), TestbedError> {
        Ok(self.bed.desired.change([], [key(service, address)])?)
    }

    fn hand_over(&self, address: SocketAddr, from: &Name, to: &Name) -> Result<(), TestbedError> {
        Ok(self
            .bed
            .desired
            .change([endpoint_at(to, address)], [key(from, address)])?)
    }

    /// The addresses of a service, in their order.
    fn addresses(&self, service: &Name) -> Vec<SocketAddr> {
        let ready = self.bed.desired.ready();
        ready
            .into_iter()
            .filter(|(_, owner)| owner == service)
            .map(|(address, _)| address)
            .collect()
    }

    /// Ends a server that has left: what it still does may end.
    async fn stop(&mut self, service: &Name, address: SocketAddr) -> Result<(), TestbedError> {
        self.bed.gone(service, address, LIMIT).await?;
        if let Some(mut server) = self.bed.servers.remove(&address) {
            server.leave(LIMIT).await;
        }
        Ok(())
    }

    async fn settle(&self) -> Result<(), TestbedError> {
        self.bed.verified(LIMIT).await?;
        self.bed.in_step(LIMIT).await
    }

    async fn scene(&self, text: String) {
        let _ = self.tell.send(Told::Scene(text)).await;
    }

    async fn done(&self, text: String) {
        let _ = self.tell.send(Told::Done(text)).await;
    }

    /// Until this twentieth of the story.
    async fn until(&self, twentieth: u32) {
        self.sleep_until(self.length * twentieth / 20).await;
    }

    /// Spreads `steps` evenly over `length` twentieths from `begin` on.
    async fn within(&self, begin: u32, length: u32, step: usize, steps: usize) {
        let part = u32::try_from((step + 1) * 1000 / steps.max(1)).unwrap_or(1000);
        let offset = self.length * length / 20 * part / 1000;
        self.sleep_until(self.length * begin / 20 + offset).await;
    }

    async fn sleep_until(&self, time: Duration) {
        sleep((self.began + time).saturating_duration_since(now())).await;
    }
}

fn key(service: &Name, address: SocketAddr) -> RecordKey {
    let (key, _) = endpoint_at(service, address);
    key
}
