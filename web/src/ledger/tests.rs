//! Stories of the fold: what a user sees of a log, and what not.

use dacapo_core::{CorrelationId, Data, EventId, Key, Source, Version, WallTime};
use serde_json::{Value, json};

use super::*;

/// A log told by hand.
#[derive(Default)]
struct Story {
    ledger: Ledger,
    events: Vec<Event>,
}

impl Story {
    fn told(mut self, event_type: &str, key: &str, data: &Value) -> Self {
        let position = self.events.len() as u64 + 1;
        let event = Event {
            position: Position(position),
            id: EventId::of(format!("e{position}")),
            event_type: EventType::of(event_type),
            key: Key::of(key),
            version: Version(position),
            correlation: CorrelationId::of(format!("c-{key}")),
            causation: None,
            time: WallTime(position),
            source: Source::of("test"),
            data: Data::of(data),
            attributes: dacapo_core::Attributes::default(),
        };
        self.ledger.take(&event);
        self.events.push(event);
        self
    }

    /// Two users with an account each, and 500 pence in the first.
    fn of_two() -> Self {
        Self::default()
            .told("UserCreated", "user-ada", &json!({"name": "Ada"}))
            .told("AccountCreated", "acc-ada-x", &json!({"user": "ada", "account": "ada-x", "name": "X"}))
            .told("AccountCreated", "acc-bob-y", &json!({"user": "bob", "account": "bob-y", "name": "Y"}))
            .told("ConfirmedCredit", "acc-ada-x", &json!({"why": "deposit", "pence": 500, "request": "r1"}))
    }

    fn ordered(self, id: &str, pence: u64) -> Self {
        let order = json!({"from": "ada-x", "to": "bob-y", "pence": pence, "reference": "rent", "request": "r2"});
        self.told("PendingTransaction", &format!("trans-{id}"), &order)
    }

    fn accepted(self, id: &str, pence: u64) -> Self {
        let part = json!({"why": "transfer", "transaction": id, "pence": pence});
        self.told(
            "AcceptedTransaction",
            &format!("trans-{id}"),
            &json!({"from": "ada-x", "to": "bob-y", "pence": pence}),
        )
        .told("ConfirmedDebit", "acc-ada-x", &part)
        .told("ConfirmedCredit", "acc-bob-y", &part)
    }
}

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

#[test]
fn a_payment_is_pending_then_accepted_and_both_statements_name_the_other() {
    let story = Story::of_two().ordered("t", 120);
    assert_eq!(story.ledger.view(&user("ada")).payments[0].status, Status::Pending);
    let story = story.accepted("t", 120);
    let (ada, bob) = (story.ledger.view(&user("ada")), story.ledger.view(&user("bob")));
    assert_eq!((ada.payments[0].status, ada.accounts[0].balance.get()), (Status::Accepted, 380));
    assert_eq!(ada.accounts[0].entries[0].title, "To bob-y");
    assert_eq!((bob.accounts[0].balance.get(), bob.accounts[0].entries[0].title.as_str()), (120, "From ada-x"));
    assert_eq!(bob.accounts[0].entries[0].reference, "rent");
    assert_eq!(bob.payments, [], "an order is its payer's");
}

#[test]
fn a_rejection_is_told_by_its_reason_and_without_the_services_words() {
    let rejected = json!({"reason": "balance_too_large", "message": "account bob-y holds 7777 pence"});
    let story = Story::of_two().ordered("t", 1).told("RejectedTransaction", "trans-t", &rejected);
    let told = serde_json::to_string(&story.ledger.view(&user("ada"))).unwrap();
    assert!(told.contains("balance_too_large") && told.contains("cannot take that much"), "{told}");
    assert!(!told.contains("7777"), "{told}");
}

#[test]
fn a_user_is_told_of_their_own_accounts_alone() {
    let story = Story::of_two().ordered("t", 120).accepted("t", 120);
    let told = |id: &str| serde_json::to_string(&story.ledger.news(&user(id), Position::ZERO)).unwrap();
    let (ada, bob, eve) = (told("ada"), told("bob"), told("eve"));
    assert!(ada.contains("\"balance\":380") && !ada.contains("\"account\":\"bob-y\""), "{ada}");
    assert!(bob.contains("\"balance\":120") && !bob.contains("380") && !bob.contains("500"), "{bob}");
    assert_eq!(eve, "[]");
    assert!(!story.ledger.owns(&user("bob"), &AccountId::new("ada-x").unwrap()));
}

#[test]
fn news_after_a_position_and_the_view_before_it_make_the_view_now() {
    let story = Story::of_two();
    let before = story.ledger.view(&user("ada"));
    let story = story.ordered("t", 120).accepted("t", 120).told("PointsEarned", "nectar-ada-x", &json!({"points": 12}));
    let news = story.ledger.news(&user("ada"), before.position).unwrap();
    assert!(news.iter().all(|news| news.position > before.position));
    let kinds: Vec<&str> = news
        .iter()
        .map(|news| match news.change {
            Change::Opened { .. } => "opened",
            Change::Entry { .. } => "entry",
            Change::Payment { .. } => "payment",
            Change::Points { .. } => "points",
        })
        .collect();
    assert_eq!(kinds, ["payment", "payment", "entry", "points"]);
    assert_eq!(story.ledger.view(&user("ada")).accounts[0].points, 12);
}

#[test]
fn what_is_kept_is_bounded_and_who_missed_too_much_is_told_so() {
    let mut story = Story::of_two();
    for _ in 0..NEWS_MAX + 5 {
        story = story.told("ConfirmedCredit", "acc-ada-x", &json!({"why": "deposit", "pence": 1}));
    }
    let view = story.ledger.view(&user("ada"));
    assert_eq!((view.accounts[0].entries.len(), view.accounts[0].more), (ENTRIES_MAX, true));
    assert_eq!(view.accounts[0].balance.get(), 500 + NEWS_MAX as u64 + 5);
    assert_eq!(story.ledger.news(&user("ada"), Position(1)), None);
    let kept = story.ledger.news(&user("ada"), Position(story.events.len() as u64 - NEWS_MAX as u64)).unwrap();
    assert_eq!(kept.len(), NEWS_MAX);
}

#[test]
fn an_event_that_comes_again_and_what_is_not_of_the_banks_shape_change_nothing() {
    let mut story = Story::of_two().ordered("t", 120).accepted("t", 120);
    let before = serde_json::to_string(&story.ledger.view(&user("ada"))).unwrap();
    for event in story.events.clone() {
        story.ledger.take(&event);
    }
    for (event_type, key) in
        [("ConfirmedCredit", "acc-ada-x"), ("PointsEarned", "nectar-ada-x"), ("UserCreated", "user-")]
    {
        story = story.told(event_type, key, &json!({"pence": -1, "points": "many"}));
    }
    let mut after = story.ledger.view(&user("ada"));
    after.position = Position(story.events.len() as u64 - 3);
    assert_eq!(serde_json::to_string(&after).unwrap(), before);
}

#[test]
fn orders_that_were_decided_long_ago_are_forgotten() {
    let mut ledger = Ledger::default();
    for number in 0..=ORDERS_MAX {
        ledger.decided.push_back(TransactionId::new(format!("t{number}")).unwrap());
    }
    let mut story = Story { ledger, events: Story::of_two().events };
    for event in story.events.clone() {
        story.ledger.take(&event);
    }
    let story = story.ordered("t", 1).accepted("t", 1);
    assert_eq!(story.ledger.decided.len(), ORDERS_MAX + 1, "one in, one out");
}
