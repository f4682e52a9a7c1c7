//! Panics of what is simulated. A panic in a spawned task ends that task and nothing else, so without this a run would
//! go on, green, with half a bus.
//!
//! The process has one panic hook. Ours notes the panics of threads that are simulating, and hands those of all other
//! threads to the hook that was there before.

use std::{cell::RefCell, panic, sync::Once};

thread_local! {
    static NOTED: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

static INSTALLED: Once = Once::new();

/// Notes the panics of this thread until it is dropped.
pub(crate) struct Watch {
    /// Made only by [`begin`](Self::begin).
    _private: (),
}

impl Watch {
    /// Begins to watch.
    pub(crate) fn begin() -> Self {
        INSTALLED.call_once(|| {
            let previous = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                let noted = NOTED.with(|noted| match noted.try_borrow_mut() {
                    Ok(mut noted) => noted.as_mut().map(|noted| noted.push(info.to_string())).is_some(),
                    Err(_) => false,
                });
                if !noted {
                    previous(info);
                }
            }));
        });
        NOTED.with(|noted| *noted.borrow_mut() = Some(Vec::new()));
        Self { _private: () }
    }

    /// The first panic so far.
    #[expect(clippy::unused_self, reason = "only who watches may ask")]
    pub(crate) fn first(&self) -> Option<String> {
        NOTED.with(|noted| noted.borrow().as_ref().and_then(|noted| noted.first().cloned()))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        NOTED.with(|noted| *noted.borrow_mut() = None);
    }
}
