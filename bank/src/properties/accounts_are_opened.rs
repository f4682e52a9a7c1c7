//! Every account that was asked for is opened, once, for who asked.

use std::collections::{BTreeMap, BTreeSet};

use dacapo_core::{
    Event,
    trace::{Record, What},
};
use dacapo_properties::{Kinds, Property, Verdict};

use super::reading::{ParkedLanes, broken, durable, id_of, named, payload, text};

/// An account is opened only if a user asked for it, for that user, and once; and once all is healed, every account
/// that was asked for is open. A wish whose lane is parked waits for people, by design.
#[derive(Debug, Default)]
pub struct AccountsAreOpened {
    /// By account: who asked, and at which step.
    asked: BTreeMap<String, (String, u64)>,
    open: BTreeSet<String>,
    parked: ParkedLanes,
    healed: bool,
    checks: u64,
}

impl AccountsAreOpened {
    fn judge(&mut self, event: &Event, step: u64) -> Verdict {
        if event.event_type.as_str() == "AccountCreationRequest" {
            if let Some(id) = id_of(&event.key, "creation-") {
                self.asked.insert(id.to_owned(), (text(payload(event).user), step));
            }
            return Ok(());
        }
        let (Some(id), "AccountCreated") = (id_of(&event.key, "acc-"), event.event_type.as_str()) else {
            return Ok(());
        };
        self.checks += 1;
        let opened_for = text(payload(event).user);
        let steps: Vec<u64> = self.asked.get(id).map(|(_, step)| *step).into_iter().collect();
        if !self.open.insert(id.to_owned()) {
            return broken(self, step, format!("{} opens an account that is open", named(event)), steps);
        }
        match self.asked.get(id) {
            Some((user, _)) if *user == opened_for => Ok(()),
            asked => {
                let asked = asked.map_or("nobody", |(user, _)| user);
                let message = format!("{} opens an account for {opened_for:?}; {asked} asked for it", named(event));
                broken(self, step, message, steps)
            }
        }
    }
}

impl Property for AccountsAreOpened {
    fn name(&self) -> &'static str {
        "accounts_are_opened"
    }

    fn sentence(&self) -> &'static str {
        "an account is opened once and for who asked for it, and all that were asked for are open once all is healed"
    }

    fn source(&self) -> &'static str {
        "liveness: every event is completed, skipped or parked"
    }

    fn looks_at(&self) -> Kinds {
        Kinds::COMMIT_DURABLE.and(Kinds::HEALED)
    }

    fn observe(&mut self, record: &Record) -> Verdict {
        self.healed |= matches!(record.what, What::Healed { .. });
        let Some(commit) = durable(record) else { return Ok(()) };
        self.parked.observe(commit);
        commit.events.iter().try_for_each(|event| self.judge(event, record.step))
    }

    fn finish(&mut self) -> Verdict {
        if !self.healed {
            return Ok(());
        }
        let is_late = |id: &String| !self.open.contains(id) && !self.parked.contains(&format!("creation-{id}"));
        let waits: Vec<(&String, u64)> =
            self.asked.iter().filter(|(id, _)| is_late(id)).map(|(id, (_, step))| (id, *step)).collect();
        let Some((first, _)) = waits.first() else { return Ok(()) };
        let message = format!("accounts that were asked for and never opened: {}, among them {first}", waits.len());
        broken(self, 0, message, waits.iter().map(|(_, step)| *step).take(8).collect())
    }

    fn checks(&self) -> u64 {
        self.checks
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::properties::story::Story;

    fn asked() -> Story {
        Story::new().commit([("AccountCreationRequest", "creation-a", json!({"user": "alice", "account": "a"}))])
    }

    fn opened(user: &str) -> (&'static str, &'static str, Value) {
        ("AccountCreated", "acc-a", json!({"user": user, "account": "a", "name": ""}))
    }

    #[track_caller]
    fn breaks(story: Story, words: &str) {
        let violation = story.judge(&mut AccountsAreOpened::default()).expect_err("the promise is broken");
        assert!(violation.message.contains(words), "{}", violation.message);
    }

    #[test]
    fn a_wish_that_is_never_granted_is_seen_at_the_end() {
        breaks(asked().healed(), "never opened: 1, among them a");
        asked().parked("creation-a").healed().judge(&mut AccountsAreOpened::default()).unwrap();
        asked().judge(&mut AccountsAreOpened::default()).unwrap();
    }

    #[test]
    fn an_account_opens_once_for_who_asked() {
        let mut property = AccountsAreOpened::default();
        asked().commit([opened("alice")]).healed().judge(&mut property).unwrap();
        assert_eq!(property.checks(), 1);
        breaks(asked().commit([opened("bob")]), "alice asked for it");
        breaks(Story::new().commit([opened("alice")]), "nobody asked for it");
        breaks(asked().commit([opened("alice")]).commit([opened("alice")]), "opens an account that is open");
    }
}
