//! What a customer is told is what the log says.

use std::{collections::BTreeMap, sync::Arc};

use dacapo_core::{
    Event,
    trace::{Record, What},
};
use dacapo_properties::{Kinds, Property, Verdict};
use serde_json::Value;

use super::reading::{broken, durable, named, operation_of, payload};

/// An operation that was answered with a 2xx has its effect in the log, once, whatever was repeated; one whose only
/// attempt was refused with a 4xx has none, ever; and one that took effect is not refused when it is asked again.
///
/// A refusal is judged only if nothing else of the operation may be under way: an earlier attempt, whose outcome is
/// unknown, may take effect after a later one was refused.
#[derive(Debug, Default)]
pub struct AnswersAgreeWithLog {
    operations: BTreeMap<u64, Operation>,
    checks: u64,
    repeated: u64,
    refused: u64,
}

#[derive(Debug, Default)]
struct Operation {
    asked: Option<Asked>,
    /// Attempts that were sent; a customer that was restarted may count anew, so they are counted here.
    attempts: u32,
    /// The event that answers it.
    effect: Option<Effect>,
    /// Whether the effect was in the log when the latest attempt was sent.
    known_when_sent: bool,
    /// The step at which its only attempt was refused.
    refused_at: Option<u64>,
}

/// What the customer wants.
#[derive(Debug, Clone)]
struct Asked {
    path: String,
    body: Arc<str>,
    is_post: bool,
    step: u64,
}

#[derive(Debug, Clone)]
struct Effect {
    event: Arc<Event>,
    step: u64,
}

/// Whether a status is a refusal that stands. Of these three, HTTP says that one may ask again.
fn is_refusal(status: u16) -> bool {
    (400..500).contains(&status) && !matches!(status, 408 | 425 | 429)
}

/// What must stand in the log for a POST that went well.
struct Demanded {
    event_type: &'static str,
    key: String,
    /// The fields that the payload shares with the body or the path.
    fields: Vec<(&'static str, Value)>,
}

impl Demanded {
    /// None: the property knows no such route.
    fn by(asked: &Asked) -> Option<Self> {
        let body: Value = serde_json::from_str(&asked.body).unwrap_or(Value::Null);
        let text = |field: &str| body[field].as_str().unwrap_or_default();
        let same =
            |fields: &[&'static str]| -> Vec<_> { fields.iter().map(|field| (*field, body[*field].clone())).collect() };
        let moved = |why: &str| vec![("pence", body["pence"].clone()), ("why", Value::from(why))];
        let path = asked.path.split('?').next().unwrap_or_default();
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (event_type, key, fields) = match segments[..] {
            ["users"] => ("UserCreated", format!("user-{}", text("id")), same(&["name"])),
            ["users", user, "accounts"] => {
                let mut fields = same(&["account"]);
                fields.push(("user", Value::from(user)));
                ("AccountCreationRequest", format!("creation-{}", text("account")), fields)
            }
            ["accounts", id, "deposit"] => ("ConfirmedCredit", format!("acc-{id}"), moved("deposit")),
            ["accounts", id, "withdraw"] => ("ConfirmedDebit", format!("acc-{id}"), moved("withdrawal")),
            ["transactions"] => {
                let fields = same(&["from", "to", "pence", "reference"]);
                ("PendingTransaction", format!("trans-{}", text("id")), fields)
            }
            _ => return None,
        };
        Some(Self { event_type, key, fields })
    }
}

impl AnswersAgreeWithLog {
    fn judge_effect(&mut self, event: &Arc<Event>, step: u64) -> Verdict {
        let Some(id) = operation_of(&payload(event)) else { return Ok(()) };
        let operation = self.operations.entry(id).or_default();
        if let Some(first) = operation.effect.replace(Effect { event: Arc::clone(event), step }) {
            let (before, now) = (named(&first.event), named(event));
            let message = format!("operation {id} took effect twice: first {before}, then {now}");
            return broken(self, step, message, vec![first.step]);
        }
        if let Some(refused_at) = operation.refused_at {
            let message = format!("operation {id} was refused, and took effect afterwards: {}", named(event));
            return broken(self, step, message, vec![refused_at]);
        }
        Ok(())
    }

    fn judge_answer(&mut self, id: u64, status: u16, body: &str, step: u64) -> Verdict {
        let operation = self.operations.entry(id).or_default();
        let Some(asked) = operation.asked.clone().filter(|asked| asked.is_post) else { return Ok(()) };
        let effect = operation.effect.clone();
        let (attempts, known_when_sent) = (operation.attempts, operation.known_when_sent);
        if is_refusal(status) {
            self.checks += 1;
            self.refused += 1;
            if attempts == 1 {
                operation.refused_at = Some(step);
            }
            return match effect {
                Some(effect) if known_when_sent || attempts == 1 => {
                    let message =
                        format!("operation {id} was refused with {status} {body}, but {}", named(&effect.event));
                    broken(self, step, message, vec![asked.step, effect.step])
                }
                _ => Ok(()),
            };
        }
        if !(200..300).contains(&status) {
            return Ok(());
        }
        let Some(Demanded { event_type, key, fields }) = Demanded::by(&asked) else { return Ok(()) };
        self.checks += 1;
        self.repeated += u64::from(attempts > 1);
        let Some(effect) = effect else {
            let message =
                format!("operation {id} was answered with {status}, but the log has no {event_type} on {key} of it");
            return broken(self, step, message, vec![asked.step]);
        };
        let event = &effect.event;
        let data: Value = event.data.to().unwrap_or(Value::Null);
        let differs = fields.iter().find(|(field, value)| !value.is_null() && data[*field] != *value);
        if event.event_type.as_str() != event_type || event.key.as_str() != key || differs.is_some() {
            let message = format!(
                "operation {id} ({} {}) was answered with {status}, but its effect is {}: {}",
                asked.path,
                asked.body,
                named(event),
                event.data.as_str()
            );
            return broken(self, step, message, vec![asked.step, effect.step]);
        }
        Ok(())
    }
}

impl Property for AnswersAgreeWithLog {
    fn name(&self) -> &'static str {
        "answers_agree_with_log"
    }

    fn sentence(&self) -> &'static str {
        "a request that was granted has its effect in the log once, however often it was sent; one that was refused has \
         none"
    }

    fn source(&self) -> &'static str {
        "promises 1 and 4, as a customer sees them"
    }

    fn looks_at(&self) -> Kinds {
        Kinds::OPERATION_SENT.and(Kinds::OPERATION_ANSWERED).and(Kinds::COMMIT_DURABLE)
    }

    fn observe(&mut self, record: &Record) -> Verdict {
        match &record.what {
            What::OperationSent { operation, method, path, body, .. } => {
                let operation = self.operations.entry(*operation).or_default();
                operation.attempts += 1;
                operation.known_when_sent = operation.effect.is_some();
                operation.refused_at = None;
                operation.asked.get_or_insert_with(|| Asked {
                    path: path.clone(),
                    body: body.as_str().into(),
                    is_post: method == "POST",
                    step: record.step,
                });
                Ok(())
            }
            What::OperationAnswered { operation, status, body, .. } => {
                self.judge_answer(*operation, *status, body, record.step)
            }
            What::CommitDurable { .. } => durable(record).map_or(Ok(()), |commit| {
                commit.events.iter().try_for_each(|event| self.judge_effect(event, record.step))
            }),
            _ => Ok(()),
        }
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    /// Risk if they never happen: idempotent requests that are never repeated prove nothing.
    fn sometimes(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("a request was granted after it had been repeated", self.repeated),
            ("a request was refused", self.refused),
        ]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::properties::story::Story;

    const PATH: &str = "/accounts/a/deposit";

    fn sent() -> Story {
        Story::new().sent(7, "POST", PATH, &json!({"pence": 5}))
    }

    fn credit(pence: u64) -> (&'static str, &'static str, Value) {
        ("ConfirmedCredit", "acc-a", json!({"why": "deposit", "pence": pence, "request": "op-7"}))
    }

    #[track_caller]
    fn breaks(story: Story, words: &str) {
        let violation = story.judge(&mut AnswersAgreeWithLog::default()).expect_err("the promise is broken");
        assert!(violation.message.contains(words), "{}", violation.message);
    }

    #[test]
    fn a_deposit_that_was_granted_is_in_the_log_however_often_it_was_asked() {
        let mut property = AnswersAgreeWithLog::default();
        sent()
            .commit([credit(5)])
            .sent(7, "POST", PATH, &json!({"pence": 5}))
            .answered(7, 200, &json!({}))
            .judge(&mut property)
            .unwrap();
        assert_eq!((property.checks(), property.sometimes()[0].1), (1, 1));
    }

    #[test]
    fn a_deposit_that_is_not_in_the_log_was_not_granted() {
        breaks(sent().answered(7, 200, &json!({})).commit([credit(5)]), "the log has no ConfirmedCredit on acc-a");
        breaks(sent().commit([credit(6)]).answered(7, 200, &json!({})), "but its effect is ConfirmedCredit on acc-a@1");
    }

    #[test]
    fn a_deposit_that_took_effect_twice_is_seen() {
        breaks(sent().commit([credit(5)]).commit([credit(5)]), "operation 7 took effect twice");
        breaks(sent().commit([credit(5), credit(5)]), "operation 7 took effect twice");
    }

    #[test]
    fn a_refusal_leaves_no_event() {
        breaks(sent().commit([credit(5)]).answered(7, 409, &json!({})), "was refused with 409");
        breaks(sent().answered(7, 409, &json!({})).commit([credit(5)]), "took effect afterwards");
        let again = sent().commit([credit(5)]).sent(7, "POST", PATH, &json!({"pence": 5}));
        breaks(again.answered(7, 409, &json!({})), "was refused with 409");
        let mut property = AnswersAgreeWithLog::default();
        sent().answered(7, 422, &json!({})).judge(&mut property).unwrap();
        assert_eq!(property.checks(), 1);
    }

    #[test]
    fn what_an_unknown_attempt_may_still_do_is_not_judged() {
        let refused_later = sent().sent(7, "POST", PATH, &json!({"pence": 5})).answered(7, 409, &json!({}));
        refused_later.commit([credit(5)]).judge(&mut AnswersAgreeWithLog::default()).unwrap();
        sent().answered(7, 503, &json!({})).commit([credit(5)]).judge(&mut AnswersAgreeWithLog::default()).unwrap();
    }

    #[test]
    fn every_route_that_changes_something_is_known() {
        for (path, body, event) in [
            ("/users", json!({"id": "al", "name": "Al"}), ("UserCreated", "user-al", json!({"name": "Al"}))),
            (
                "/users/al/accounts",
                json!({"account": "a"}),
                ("AccountCreationRequest", "creation-a", json!({"user": "al", "account": "a", "name": "a"})),
            ),
            (
                "/accounts/a/withdraw",
                json!({"pence": 5}),
                ("ConfirmedDebit", "acc-a", json!({"why": "withdrawal", "pence": 5})),
            ),
            (
                "/transactions",
                json!({"id": "t", "from": "a", "to": "b", "pence": 5, "reference": "rent"}),
                ("PendingTransaction", "trans-t", json!({"from": "a", "to": "b", "pence": 5, "reference": "rent"})),
            ),
        ] {
            let (event_type, key, mut data) = event;
            data["request"] = json!("op-7");
            let mut property = AnswersAgreeWithLog::default();
            let story = || Story::new().sent(7, "POST", path, &body);
            let granted = |story: Story| story.answered(7, 200, &json!({}));
            granted(story().commit([(event_type, key, data)])).judge(&mut property).unwrap();
            assert_eq!(property.checks(), 1, "{path}");
            breaks(granted(story()), "the log has no");
        }
    }
}
