//! Who may ask, and who may come in: a file of lines.

use std::collections::HashMap;
use std::net::IpAddr;

use ctutils::CtEq;
use postbox::BoxError;

use super::secret::{Login, Secret};

#[derive(Default)]
pub struct Config {
    secrets: HashMap<IpAddr, Secret>,
    passwords: HashMap<String, String>,
}

impl Config {
    /// Reads lines of three words: `client ADDRESS SECRET` or `user NAME PASSWORD`.
    pub fn parse(text: &str) -> Result<Self, BoxError> {
        let mut config = Self::default();
        let lines = text
            .lines()
            .map(|line| line.split_once('#').map_or(line, |(line, _)| line));
        for line in lines.filter(|line| !line.trim().is_empty()) {
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                ["client", address, secret] => {
                    config.secrets.insert(address.parse()?, Secret::new(secret));
                }
                ["user", name, password] => {
                    config
                        .passwords
                        .insert(name.to_owned(), password.to_owned());
                }
                _ => return Err(format!("neither client nor user: {line}").into()),
            }
        }
        Ok(config)
    }

    /// The secret that is shared with the client at this address.
    pub fn secret(&self, client: IpAddr) -> Option<&Secret> {
        self.secrets.get(&client)
    }

    /// Whether user and password are right. It takes as long whatever is wrong.
    pub fn knows(&self, login: &Login) -> bool {
        let right = self.passwords.get(&login.user);
        let password = right.map_or(&[][..], |password| password.as_bytes());
        right.is_some() & password.ct_eq(&login.password[..]).to_bool()
    }
}
