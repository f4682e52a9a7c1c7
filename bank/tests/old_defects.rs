//! Three defects of the system that this bank replaces, each shown to be impossible: negative amounts, an overdraft by
//! transfers that were decided at once, a credit that was applied twice.
//!
//! A toy log stands in for the bus. It knows one rule: a batch enters whole if the heads are what its author read.

use std::collections::BTreeMap;

use dacapo_bank::{
    accounts::{Account, Settlement, State, settle},
    events::{AccountCreated, ConfirmedCredit, Fact, PendingTransaction, Reason, RejectedTransaction},
    ids::{AccountId, TransactionId},
    money::Pence,
};
use dacapo_core::{CorrelationId, Data, Event, EventId, Key, Position, Source, Version, WallTime};
use serde_json::{Value, json};

fn account_key(account: &str) -> Key {
    AccountId::new(account).expect("it is an id").key()
}

fn payload<F: Fact>(json: Value) -> F {
    serde_json::from_value(json).expect("it is of the payload's shape")
}

#[derive(Default)]
struct ToyLog {
    events: Vec<Event>,
}

/// What a decision rests upon.
struct Ground {
    heads: BTreeMap<Key, u64>,
    transaction: State,
    from: Option<Account>,
    to: Option<Account>,
}

impl ToyLog {
    fn of_key<'a>(&'a self, key: &'a Key) -> impl Iterator<Item = &'a Event> {
        self.events.iter().filter(move |event| event.key == *key)
    }

    fn state(&self, key: &Key) -> State {
        self.of_key(key).fold(State::default(), |mut state, event| {
            state.apply(event);
            state
        })
    }

    fn balance(&self, account: &str) -> u64 {
        let state = self.state(&account_key(account));
        state.account().map_or(0, |account| account.balance.get())
    }

    fn append<F: Fact>(&mut self, key: &Key, data: &F) {
        let (position, version) = (self.events.len() as u64 + 1, self.of_key(key).count() as u64 + 1);
        self.events.push(Event {
            position: Position(position),
            id: EventId::of(format!("e{position}")),
            event_type: F::event_type(),
            key: key.clone(),
            version: Version(version),
            correlation: CorrelationId::of("c"),
            causation: None,
            time: WallTime::default(),
            source: Source::of("toy"),
            data: Data::of(data),
            attributes: dacapo_core::Attributes::default(),
        });
    }

    fn with_account(mut self, account: &str, pence: u64) -> Self {
        let key = account_key(account);
        let created = json!({"user": "alice", "account": account, "name": account});
        self.append::<AccountCreated>(&key, &payload(created));
        if pence > 0 {
            let credit = json!({"why": "deposit", "pence": pence});
            self.append::<ConfirmedCredit>(&key, &payload(credit));
        }
        self
    }

    fn ground(&self, id: &TransactionId, pending: &PendingTransaction) -> Ground {
        let keys = [id.key(), pending.from.key(), pending.to.key()];
        let heads = keys.iter().map(|key| (key.clone(), self.of_key(key).count() as u64)).collect();
        let account = |key: &Key| self.state(key).account().cloned();
        Ground { heads, transaction: self.state(&keys[0]), from: account(&keys[1]), to: account(&keys[2]) }
    }

    /// Takes a settlement if its ground still holds.
    fn enter(&mut self, id: &TransactionId, pending: &PendingTransaction, ground: &Ground, made: &Settlement) -> bool {
        if ground.heads.iter().any(|(key, head)| self.of_key(key).count() as u64 != *head) {
            return false;
        }
        match made {
            Settlement::DecidedBefore => {}
            Settlement::Rejected(rejected) => self.append(&id.key(), rejected),
            Settlement::Accepted { accepted, debit, credit } => {
                self.append(&id.key(), accepted);
                self.append(&pending.from.key(), debit);
                self.append(&pending.to.key(), credit);
            }
        }
        true
    }
}

fn decide(id: &TransactionId, pending: &PendingTransaction, ground: &Ground) -> Settlement {
    settle(id, &ground.transaction, ground.from.as_ref(), ground.to.as_ref(), pending)
}

fn order(id: &str, pence: u64) -> (TransactionId, PendingTransaction) {
    let order = json!({"from": "a", "to": "b", "pence": pence, "reference": ""});
    (TransactionId::new(id).expect("it is an id"), payload(order))
}

#[test]
fn a_negative_amount_can_be_neither_sent_nor_stored() {
    let order = |pence: Value| json!({"from": "a", "to": "b", "pence": pence});
    for pence in [json!(-1), json!(-0.5), json!("-1"), json!(i64::MIN)] {
        assert!(serde_json::from_value::<PendingTransaction>(order(pence.clone())).is_err(), "{pence}");
    }
    assert_eq!(Pence::ZERO.minus(Pence::new(1).unwrap()), None);
}

#[test]
fn transfers_that_are_decided_on_one_balance_at_once_cannot_overdraw_it() {
    let mut log = ToyLog::default().with_account("a", 100).with_account("b", 0);
    let orders = [order("t1", 60), order("t2", 60), order("t3", 40)];
    // Three instances decide on the same balance; each alone is right to accept.
    let decided: Vec<_> = orders
        .iter()
        .map(|(id, pending)| {
            let ground = log.ground(id, pending);
            let made = decide(id, pending, &ground);
            assert!(matches!(made, Settlement::Accepted { .. }));
            (id, pending, ground, made)
        })
        .collect();
    let entered: Vec<bool> =
        decided.iter().map(|(id, pending, ground, made)| log.enter(id, pending, ground, made)).collect();
    assert_eq!(entered, [true, false, false], "the others' ground has moved");
    assert_eq!((log.balance("a"), log.balance("b")), (40, 60));
    // They decide again, on what the first one left.
    let again = |log: &mut ToyLog, (id, pending): &(TransactionId, PendingTransaction)| {
        let ground = log.ground(id, pending);
        let made = decide(id, pending, &ground);
        assert!(log.enter(id, pending, &ground, &made));
        made
    };
    let Settlement::Rejected(RejectedTransaction { reason, message }) = again(&mut log, &orders[1]) else {
        panic!("the balance does not cover it any more");
    };
    assert_eq!(reason, Reason::InsufficientFunds);
    assert_eq!(message, "account a holds 40 pence, 60 are needed; pay in the rest or send less");
    assert!(matches!(again(&mut log, &orders[2]), Settlement::Accepted { .. }), "the exact balance may be spent");
    assert_eq!((log.balance("a"), log.balance("b")), (0, 100));
}

#[test]
fn a_transfer_that_is_handled_again_credits_nobody_twice() {
    let mut log = ToyLog::default().with_account("a", 100).with_account("b", 0);
    let (id, pending) = order("t1", 30);
    let ground = log.ground(&id, &pending);
    let made = decide(&id, &pending, &ground);
    assert!(log.enter(&id, &pending, &ground, &made));
    assert!(!log.enter(&id, &pending, &ground, &made), "what was sent twice finds that its ground has moved");
    let fresh = log.ground(&id, &pending);
    assert_eq!(decide(&id, &pending, &fresh), Settlement::DecidedBefore, "handled again, it has been decided");
    assert_eq!((log.balance("a"), log.balance("b")), (70, 30));
}
