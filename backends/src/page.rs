//! How much fits into a page, the same for every store.

use std::sync::Arc;

use dacapo_core::{Event, limits};

/// What is left of a page.
#[derive(Debug)]
pub(crate) struct Room {
    events: usize,
    bytes: usize,
}

impl Room {
    /// An empty page for so many events; 0 means the most that a page may hold.
    pub(crate) fn new(limit: usize) -> Self {
        Self { events: page_limit(limit), bytes: limits::PAGE_BYTES_MAX }
    }

    /// Whether the page has reached its limit, by count or by bytes.
    pub(crate) fn is_full(&self) -> bool {
        self.events == 0 || self.bytes == 0
    }

    /// Accounts for one more event. The one that oversteps the bytes still belongs to the page, so that every page
    /// makes progress.
    pub(crate) fn take(&mut self, event: &Event) {
        debug_assert!(!self.is_full(), "a full page takes nothing");
        self.events -= 1;
        self.bytes = self.bytes.saturating_sub(size_of_event(event));
    }

    /// Fills the page from `events`.
    pub(crate) fn fill<'a>(&mut self, events: impl IntoIterator<Item = &'a Arc<Event>>) -> Vec<Arc<Event>> {
        let mut page = Vec::new();
        let mut events = events.into_iter();
        while !self.is_full()
            && let Some(event) = events.next()
        {
            self.take(event);
            page.push(Arc::clone(event));
        }
        page
    }
}

/// The most events or heads of a page that was asked for with `limit`.
pub(crate) fn page_limit(limit: usize) -> usize {
    match limit {
        0 => limits::PAGE_EVENTS_MAX,
        _ => limit.min(limits::PAGE_EVENTS_MAX),
    }
}

/// Names and payload, without the JSON around them.
fn size_of_event(event: &Event) -> usize {
    let Event { id, event_type, key, correlation, causation, source, data, attributes, .. } = event;
    let causation = causation.as_ref().map_or("", |id| id.as_str());
    [id.as_str(), event_type.as_str(), key.as_str(), correlation.as_str(), causation, source.as_str(), data.as_str()]
        .into_iter()
        .map(str::len)
        .sum::<usize>()
        + attributes.bytes()
}
