//! Follows the containers of one engine.

use async_trait::async_trait;
use lb_core::{Cursor, Descriptor, Sink, Source, SourceError, Update};

use crate::{
    config::DockerConfig,
    container_reader::network_owner,
    container_watch::{Watch, rules},
    engine::Engine,
    explain::Explanation,
    surveyor::{inspect, survey},
    translate::{Fate, translate},
};

/// The containers of one engine, by their labels or by their compose service.
///
/// ```no_run
/// use lb_docker::{DockerConfig, DockerSource};
///
/// // Reads the environment as the `docker` command does, and containers with `lb.*` labels.
/// let source = DockerSource::new(DockerConfig::default());
/// ```
#[derive(Debug)]
pub struct DockerSource {
    config: DockerConfig,
    attempts: u64,
}

impl DockerSource {
    /// A source with this configuration. Nothing is connected yet.
    #[must_use]
    pub fn new(config: DockerConfig) -> Self {
        Self {
            config,
            attempts: 0,
        }
    }

    /// The routes of a container, given by name or id, how its addresses are chosen, and what is wrong with it.
    ///
    /// # Errors
    /// [`SourceError::Config`] when there is no such container or no engine is meant; otherwise what the engine
    /// answered.
    pub async fn explain(&self, container: &str) -> Result<Explanation, SourceError> {
        let engine = Engine::new(&self.config.connection)?;
        let survey = survey(&engine, &self.config.reach).await?;
        let found = match inspect(&engine, container).await {
            Err(error) if error.is_not_found() => {
                return Err(SourceError::config(format!(
                    "container is {container:?}, expected one that the engine has"
                )));
            }
            found => found?,
        };
        let through = network_owner(&engine, &found).await?;
        let rules = rules(&self.config, &survey);
        let translation = translate(
            &found,
            through.as_ref(),
            Fate::Stays,
            &rules,
            &survey.networks,
            &survey.reach,
            None,
            |_| None,
        );
        let reach = survey.reach.viewpoint.to_string();
        Ok(Explanation::new(found.object(), reach, translation))
    }
}

#[async_trait]
impl Source for DockerSource {
    fn describe(&self) -> Descriptor {
        Descriptor::new(self.config.name.clone(), "docker")
            .with_liveness(self.config.ping_interval * 4)
            .with_local_ids()
    }

    async fn watch(&mut self, _resume: Option<Cursor>, sink: &Sink) -> Result<(), SourceError> {
        self.attempts += 1;
        let (mut watch, complaints) = Watch::open(&self.config, self.attempts, sink).await?;
        for complaint in complaints {
            sink.send(Update::Diagnostic(complaint)).await?;
        }
        watch.reset(sink).await?;
        watch.follow(sink).await
    }
}
