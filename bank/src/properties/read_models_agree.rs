//! What is shown when all is done is what the log says.

use std::collections::{BTreeMap, BTreeSet};

use dacapo_core::{
    Event, Position,
    trace::{Record, What},
};
use dacapo_properties::{Kinds, Property, Verdict};
use serde_json::Value;

use super::reading::{broken, durable, id_of, payload, pence, text};
use crate::scenario::INSPECTION;

/// Inspections are sent when all is healed and done, and demand to see all that is in the log by then: a balance, the
/// status of a transfer, the accounts of a user. What they show must be what the log, folded here once more, held at
/// some moment between question and answer.
#[derive(Debug, Default)]
pub struct ReadModelsAgree {
    /// By what can be looked at: what there was to see, since which position.
    histories: BTreeMap<Subject, Vec<(Position, Value)>>,
    position: Position,
    healed: bool,
    /// Inspections that are open: what they look at, where the log ended when they were sent, and the step.
    open: BTreeMap<u64, (Subject, Position, u64)>,
    checks: u64,
}

/// What can be looked at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    /// An account's balance.
    Balance(String),
    /// A transaction's status.
    Status(String),
    /// A user's accounts.
    Accounts(String),
}

impl Subject {
    /// What an inspection's path looks at.
    fn of(path: &str) -> Option<Self> {
        let path = path.strip_suffix(INSPECTION)?;
        match path.trim_matches('/').split('/').collect::<Vec<_>>()[..] {
            ["accounts", id] => Some(Self::Balance(id.to_owned())),
            ["transactions", id] => Some(Self::Status(id.to_owned())),
            ["users", id, "accounts"] => Some(Self::Accounts(id.to_owned())),
            _ => None,
        }
    }

    /// What the answer says of it; null if it says that there is no such thing.
    fn shown(&self, status: u16, body: &Value) -> Value {
        match self {
            _ if status == 404 => Value::Null,
            Self::Balance(_) => body["balance"].clone(),
            Self::Status(_) => body["status"].clone(),
            Self::Accounts(_) => {
                let ids = body["accounts"].as_array().into_iter().flatten();
                let ids: BTreeSet<String> =
                    ids.filter_map(|account| account["id"].as_str()).map(str::to_owned).collect();
                Value::from_iter(ids)
            }
        }
    }
}

impl ReadModelsAgree {
    fn held(&self, subject: &Subject) -> Value {
        self.histories.get(subject).and_then(|history| history.last()).map_or(Value::Null, |(_, value)| value.clone())
    }

    fn set(&mut self, subject: Subject, value: Value) {
        self.histories.entry(subject).or_default().push((self.position, value));
    }

    fn fold(&mut self, event: &Event) {
        self.position = event.position;
        let id = |prefix| id_of(&event.key, prefix).unwrap_or_default().to_owned();
        match event.event_type.as_str() {
            "UserCreated" => self.set(Subject::Accounts(id("user-")), Value::Array(Vec::new())),
            "AccountCreated" => {
                self.set(Subject::Balance(id("acc-")), Value::from(0));
                let user = Subject::Accounts(text(payload(event).user));
                let mut accounts: BTreeSet<String> = self
                    .held(&user)
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect();
                accounts.insert(id("acc-"));
                self.set(user, Value::from_iter(accounts));
            }
            "ConfirmedCredit" => self.add(id("acc-"), pence(&payload(event)).unwrap_or_default()),
            "ConfirmedDebit" => self.add(id("acc-"), -pence(&payload(event)).unwrap_or_default()),
            "PendingTransaction" => self.set(Subject::Status(id("trans-")), Value::from("pending")),
            "AcceptedTransaction" => self.set(Subject::Status(id("trans-")), Value::from("accepted")),
            "RejectedTransaction" => self.set(Subject::Status(id("trans-")), Value::from("rejected")),
            _ => {}
        }
    }

    fn add(&mut self, account: String, pence: i128) {
        let account = Subject::Balance(account);
        let balance = i128::from(self.held(&account).as_i64().unwrap_or_default()) + pence;
        // Beyond 64 bits another property has spoken long ago.
        self.set(account, Value::from(i64::try_from(balance).unwrap_or(i64::MIN)));
    }

    fn judge(&mut self, operation: u64, status: u16, body: &str, step: u64) -> Verdict {
        let Some((subject, sent_at, sent_step)) = self.open.get(&operation).cloned() else { return Ok(()) };
        if !(200..300).contains(&status) && status != 404 {
            return Ok(());
        }
        self.open.remove(&operation);
        self.checks += 1;
        let shown = subject.shown(status, &serde_json::from_str(body).unwrap_or(Value::Null));
        let empty = Vec::new();
        let history = self.histories.get(&subject).unwrap_or(&empty);
        let since = history.partition_point(|(position, _)| *position <= sent_at);
        let before = since.checked_sub(1).map_or(Value::Null, |last| history[last].1.clone());
        let possible: Vec<Value> =
            std::iter::once(before).chain(history[since..].iter().map(|(_, value)| value.clone())).collect();
        if possible.contains(&shown) {
            return Ok(());
        }
        let shown = if status == 404 { "that it does not exist".to_owned() } else { shown.to_string() };
        let right: Vec<String> = possible.iter().map(Value::to_string).collect();
        let message = format!(
            "{subject:?} is shown as {shown} (operation {operation}), but at position {sent_at} and since the log says {}",
            right.join(", then ")
        );
        broken(self, step, message, vec![sent_step])
    }
}

impl Property for ReadModelsAgree {
    fn name(&self) -> &'static str {
        "read_models_agree"
    }

    fn sentence(&self) -> &'static str {
        "once all is healed, balances, statuses and lists of accounts are shown as the log has them"
    }

    fn source(&self) -> &'static str {
        "liveness: read models agree with the log"
    }

    fn looks_at(&self) -> Kinds {
        Kinds::HEALED.and(Kinds::COMMIT_DURABLE).and(Kinds::OPERATION_SENT).and(Kinds::OPERATION_ANSWERED)
    }

    fn observe(&mut self, record: &Record) -> Verdict {
        match &record.what {
            What::Healed { .. } => self.healed = true,
            What::CommitDurable { .. } => {
                if let Some(commit) = durable(record) {
                    commit.events.iter().for_each(|event| self.fold(event));
                }
            }
            What::OperationSent { operation, method, path, .. } if self.healed && method == "GET" => {
                if let Some(subject) = Subject::of(path) {
                    self.open.insert(*operation, (subject, self.position, record.step));
                }
            }
            What::OperationAnswered { operation, status, body, .. } => {
                return self.judge(*operation, *status, body, record.step);
            }
            _ => {}
        }
        Ok(())
    }

    /// An inspection that was never answered shows nothing; that every request is answered is another promise.
    fn finish(&mut self) -> Verdict {
        Ok(())
    }

    fn checks(&self) -> u64 {
        self.checks
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::properties::story::Story;

    fn looked(story: Story, path: &str, status: u16, body: &Value) -> Story {
        story.sent(99, "GET", &format!("{path}{INSPECTION}"), &Value::Null).answered(99, status, body)
    }

    fn bank() -> Story {
        Story::new()
            .commit([("UserCreated", "user-alice", json!({"name": "Alice"}))])
            .commit([("AccountCreated", "acc-a", json!({"user": "alice", "account": "a", "name": "Purse"}))])
            .commit([("ConfirmedCredit", "acc-a", json!({"why": "deposit", "pence": 70}))])
            .commit([("ConfirmedDebit", "acc-a", json!({"why": "withdrawal", "pence": 20}))])
            .commit([("PendingTransaction", "trans-t", json!({"from": "a", "to": "b", "pence": 1}))])
            .commit([("RejectedTransaction", "trans-t", json!({"reason": "unknown_recipient", "message": ""}))])
    }

    #[test]
    fn what_is_shown_is_what_the_log_says() {
        for (path, status, body) in [
            ("/accounts/a", 200, json!({"balance": 50})),
            ("/accounts/b", 404, json!({"error": "there is no account b"})),
            ("/transactions/t", 200, json!({"status": "rejected"})),
            ("/transactions/u", 404, json!({})),
            ("/users/alice/accounts", 200, json!({"accounts": [{"id": "a", "name": "Purse"}]})),
            ("/users/bob/accounts", 404, json!({})),
        ] {
            let mut property = ReadModelsAgree::default();
            looked(bank().healed(), path, status, &body).judge(&mut property).unwrap();
            assert_eq!(property.checks(), 1, "{path}");
        }
    }

    #[test]
    fn what_is_stale_or_lost_or_invented_is_seen() {
        for (path, status, body) in [
            ("/accounts/a", 200, json!({"balance": 70})),
            ("/accounts/a", 200, json!({"balance": 30})),
            ("/accounts/a", 404, json!({})),
            ("/accounts/b", 200, json!({"balance": 0})),
            ("/transactions/t", 200, json!({"status": "pending"})),
            ("/transactions/t", 404, json!({})),
            ("/users/alice/accounts", 200, json!({"accounts": []})),
            ("/users/alice/accounts", 200, json!({"accounts": [{"id": "a"}, {"id": "b"}]})),
        ] {
            let story = looked(bank().healed(), path, status, &body);
            let violation = story.judge(&mut ReadModelsAgree::default()).expect_err("the promise is broken");
            assert!(violation.message.contains("but at position 6"), "{path}: {}", violation.message);
        }
    }

    #[test]
    fn a_change_between_question_and_answer_may_be_shown_or_not() {
        let asked = || bank().healed().sent(99, "GET", &format!("/accounts/a{INSPECTION}"), &Value::Null);
        let changed = || asked().commit([("ConfirmedCredit", "acc-a", json!({"why": "deposit", "pence": 1}))]);
        for (balance, right) in [(50, true), (51, true), (70, false)] {
            let judged =
                changed().answered(99, 200, &json!({"balance": balance})).judge(&mut ReadModelsAgree::default());
            assert_eq!(judged.is_ok(), right, "{balance}");
        }
    }

    #[test]
    fn a_customers_own_look_and_what_comes_before_all_is_healed_are_not_judged() {
        let stale = json!({"balance": 1});
        looked(bank(), "/accounts/a", 200, &stale).judge(&mut ReadModelsAgree::default()).unwrap();
        let own = bank().healed().sent(5, "GET", "/accounts/a", &Value::Null).answered(5, 200, &stale);
        own.judge(&mut ReadModelsAgree::default()).unwrap();
        let unavailable = looked(bank().healed(), "/accounts/a", 503, &json!({"error": "later"}));
        unavailable.judge(&mut ReadModelsAgree::default()).unwrap();
    }
}
