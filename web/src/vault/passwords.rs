//! Argon2id over passwords, on threads of its own.
//!
//! A name that nobody has is checked against a hash that no password has, so that the time that a log-in takes does not tell
//! which names there are.

use std::{
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use argon2::{
    Argon2, PasswordVerifier as _,
    password_hash::{PasswordHash, PasswordHasher as _, SaltString},
};
use tokio::sync::oneshot;

use super::VaultError;
use crate::secrets::random;

type Job = Box<dyn FnOnce(&Argon2<'_>) + Send>;

/// Where hashing is asked for.
#[derive(Debug, Clone)]
pub(super) struct Hasher {
    jobs: mpsc::Sender<Job>,
    /// Of a password that nobody knows.
    nobody: Arc<str>,
}

impl Hasher {
    pub(super) fn start(threads: usize) -> Result<Self, VaultError> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..threads {
            let queue = Arc::clone(&queue);
            thread::Builder::new().name(format!("passwords-{number}")).spawn(move || {
                let argon2 = Argon2::default();
                loop {
                    let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(job) = job else { return };
                    job(&argon2);
                }
            })?;
        }
        let nobody = hash(&Argon2::default(), &random::<32>())?.into();
        Ok(Self { jobs, nobody })
    }

    /// The hash of a password, with its salt and parameters.
    pub(super) async fn hash(&self, password: String) -> Result<String, VaultError> {
        self.ask(move |argon2| hash(argon2, password.as_bytes())).await?
    }

    /// Whether the password has this hash; never, where there is none, and it takes as long.
    pub(super) async fn check(&self, password: String, kept: Option<String>) -> Result<bool, VaultError> {
        let nobody = Arc::clone(&self.nobody);
        self.ask(move |argon2| {
            let text = kept.as_deref().unwrap_or(&nobody);
            let parsed = PasswordHash::new(text).map_err(|error| VaultError::Hash(error.to_string()))?;
            Ok(argon2.verify_password(password.as_bytes(), &parsed).is_ok() && kept.is_some())
        })
        .await?
    }

    async fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Argon2<'_>) -> T + Send + 'static,
    ) -> Result<T, VaultError> {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(move |argon2: &Argon2<'_>| drop(answer.send(job(argon2))));
        self.jobs.send(job).map_err(|_| VaultError::Stopped)?;
        answered.await.map_err(|_| VaultError::Stopped)
    }
}

fn hash(argon2: &Argon2<'_>, password: &[u8]) -> Result<String, VaultError> {
    let told = |error: argon2::password_hash::Error| VaultError::Hash(error.to_string());
    let salt = SaltString::encode_b64(&random::<16>()).map_err(told)?;
    Ok(argon2.hash_password(password, &salt).map_err(told)?.to_string())
}
