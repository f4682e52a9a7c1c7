//! A value that many wait on, woken in the order in which they began to wait.
//!
//! Tokio's `watch` wakes its waiters in an order that differs from run to run, which no seed could repeat.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// A value that is told to whoever waits for it.
#[derive(Debug)]
pub(super) struct Told<T> {
    value: Mutex<T>,
    changed: Notify,
}

impl<T: Clone> Told<T> {
    pub(super) fn new(value: T) -> Self {
        Self { value: Mutex::new(value), changed: Notify::new() }
    }

    fn value(&self) -> MutexGuard<'_, T> {
        // Nothing panics while it holds this lock; if it did, the value would still be one.
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self) -> T {
        self.value().clone()
    }

    /// Replaces the value and wakes all who wait.
    pub(super) fn tell(&self, value: T) {
        self.change(|old| *old = value);
    }

    /// Changes the value and wakes all who wait.
    pub(super) fn change(&self, change: impl FnOnce(&mut T)) {
        change(&mut self.value());
        self.changed.notify_waiters();
    }

    /// Returns the value once it is so.
    pub(super) async fn until(&self, is: impl Fn(&T) -> bool) -> T {
        loop {
            // Made before the look, so that what is told in between wakes it.
            let changed = self.changed.notified();
            let value = self.get();
            if is(&value) {
                return value;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn those_who_wait_are_woken_in_the_order_in_which_they_came() {
        let told = Arc::new(Told::new(0));
        let order = Arc::new(Mutex::new(Vec::new()));
        let waiting: Vec<_> = (0..50)
            .map(|n| {
                let (told, order) = (Arc::clone(&told), Arc::clone(&order));
                tokio::spawn(async move {
                    assert_eq!(told.until(|value| *value == 2).await, 2);
                    order.lock().expect("nobody panics with it").push(n);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        told.tell(1);
        tokio::task::yield_now().await;
        told.tell(2);
        for waiting in waiting {
            waiting.await.expect("no panic");
        }
        assert_eq!(*order.lock().expect("nobody panics with it"), (0..50).collect::<Vec<_>>());
    }
}
