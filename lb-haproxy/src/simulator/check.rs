//! A health check's memory.

use std::{net::IpAddr, time::Duration};

use super::config::CheckModel;

#[derive(Debug, Clone)]
pub(super) struct Check {
    pub(super) configured: bool,
    pub(super) enabled: bool,
    pub(super) paused: bool,
    pub(super) rise: u16,
    pub(super) fall: u16,
    pub(super) inter: Duration,
    pub(super) port: u16,
    pub(super) address: Option<IpAddr>,
    pub(super) health: u16,
    /// 1 before the first check, then 6 for a connection and 8 for a refused one.
    pub(super) status: u8,
    /// 0 unknown, 2 failed, 3 passed.
    pub(super) result: u8,
    pub(super) next_at: Duration,
    /// If `true`, a check, and not only a command, says that it is well.
    pub(super) vouched: bool,
}

impl Check {
    pub(super) fn new(model: Option<CheckModel>, enabled: bool) -> Self {
        let settings = model.unwrap_or_default();
        Self {
            configured: model.is_some(),
            enabled: model.is_some() && enabled,
            paused: false,
            rise: settings.rise,
            fall: settings.fall,
            inter: settings.inter,
            port: settings.port,
            address: None,
            health: settings.rise,
            status: 1,
            result: 0,
            next_at: Duration::ZERO,
            vouched: true,
        }
    }

    pub(super) fn bits(&self) -> u8 {
        2 * u8::from(self.configured) + 4 * u8::from(self.enabled) + 8 * u8::from(self.paused)
    }

    pub(super) fn best(&self) -> u16 {
        (self.rise + self.fall).saturating_sub(1)
    }

    pub(super) fn runs(&self) -> bool {
        self.enabled && !self.paused
    }

    /// Takes in a result; tells what the server is to become, where that changed.
    pub(super) fn heard(&mut self, passed: bool) -> Option<bool> {
        if passed {
            (self.status, self.result) = (6, 3);
            if self.health < self.best() {
                self.health += 1;
                if self.health >= self.rise {
                    self.health = self.best();
                }
            }
            let well = self.health >= self.rise;
            self.vouched |= well;
            well.then_some(true)
        } else {
            (self.status, self.result) = (8, 2);
            if self.health >= self.rise {
                self.health -= 1;
                if self.health < self.rise {
                    self.health = 0;
                }
            }
            let ill = self.health == 0;
            self.vouched &= !ill;
            ill.then_some(false)
        }
    }
}
