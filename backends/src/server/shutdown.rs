//! How a server is asked to end.

use tokio::sync::watch;

/// Asks a server to end. Dropping it asks nothing.
#[derive(Debug, Clone)]
pub struct Trigger(watch::Sender<bool>);

/// Hears when the server is to end.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<bool>);

impl Trigger {
    /// A trigger, and what hears it.
    pub fn new() -> (Self, Shutdown) {
        let (sender, receiver) = watch::channel(false);
        (Self(sender), Shutdown(receiver))
    }

    /// Asks the server to end: nothing new, flush, say `closing`, return.
    pub fn pull(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// For a server that runs until it is killed.
    pub fn never() -> Self {
        Trigger::new().1
    }

    /// Returns when the server is to end.
    pub async fn requested(&mut self) {
        if self.0.wait_for(|requested| *requested).await.is_err() {
            // The trigger is gone: nobody can ask any more.
            std::future::pending::<()>().await;
        }
    }
}
