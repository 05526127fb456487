//! What an answer must be: a request's service, an endpoint's name, and every byte of the body. Pure.

use std::{net::SocketAddr, str::FromStr as _};

use super::{
    client::{Answer, Loss},
    content::{Ask, byte_at, piece},
};

/// A request, and the function that is told who answers.
pub(super) struct Question<'a, F> {
    pub(super) service: &'a str,
    pub(super) ask: Ask,
    pub(super) begun: F,
}

/// A body as it must be, compared piece by piece.
pub(super) struct Expected {
    endpoint: SocketAddr,
    identity: Option<String>,
    length: u64,
    right: u64,
}

impl Expected {
    pub(super) fn new<F: FnOnce(SocketAddr)>(
        endpoint: &str,
        served: &str,
        question: Question<'_, F>,
    ) -> Result<Self, Loss> {
        let Question {
            service,
            ask,
            begun,
        } = question;
        let address = SocketAddr::from_str(endpoint)
            .ok()
            .filter(|_| served == service);
        let Some(address) = address else {
            return Err(Loss::Identity {
                endpoint: endpoint.to_owned(),
                service: served.to_owned(),
            });
        };
        begun(address);
        let identity = (ask.pieces() == 0).then(|| address.to_string());
        let length = match &identity {
            Some(identity) => identity.len(),
            None => ask.pieces() * piece(0).len(),
        };
        Ok(Self {
            endpoint: address,
            identity,
            length: length as u64,
            right: 0,
        })
    }

    pub(super) fn take(&mut self, data: &[u8]) -> Result<(), Loss> {
        for byte in data {
            let at = usize::try_from(self.right).unwrap_or(usize::MAX);
            let wanted = match &self.identity {
                Some(identity) => identity.as_bytes().get(at).copied(),
                None => (self.right < self.length).then(|| byte_at(at)),
            };
            if wanted != Some(*byte) {
                return Err(self.wrong());
            }
            self.right += 1;
        }
        Ok(())
    }

    pub(super) fn end(self) -> Result<Answer, Loss> {
        if self.right != self.length {
            return Err(self.wrong());
        }
        Ok(Answer {
            endpoint: self.endpoint,
            length: self.length,
        })
    }

    fn wrong(&self) -> Loss {
        Loss::Body {
            right: self.right,
            expected: self.length,
        }
    }
}
