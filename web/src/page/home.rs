//! The page of somebody who is logged in: what they have, what they can do, and what became of it.

use dacapo_bank::{ids::AccountId, money::Pence};
use maud::{Markup, html};

use super::{frame, parts};
use crate::{
    Outcome,
    ledger::{AccountView, View},
    outcome::pounds,
    secrets::request_id,
    site::User,
    statement::Earlier,
    teller::REFERENCE_MAX,
    weather::Weather,
};

/// What is shown.
pub(crate) struct Home<'a> {
    pub(crate) user: &'a User,
    pub(crate) view: &'a View,
    /// Whose statement is shown; the first one, if none is chosen.
    pub(crate) account: Option<&'a AccountId>,
    /// Entries that are shown in the stead of the latest.
    pub(crate) earlier: Option<&'a Earlier>,
    /// What forms bear.
    pub(crate) token: &'a str,
    /// Where causes are shown.
    pub(crate) viewer: Option<&'a str>,
    /// What became of the last form, where there is no script.
    pub(crate) outcome: Option<&'a Outcome>,
    pub(crate) weather: Option<&'a Weather>,
}

impl Home<'_> {
    fn current(&self) -> Option<&AccountView> {
        let chosen = self.account.and_then(|id| self.view.accounts.iter().find(|account| account.id == *id));
        chosen.or_else(|| self.view.accounts.first())
    }
}

/// The page.
pub(crate) fn page(home: &Home<'_>) -> Markup {
    let is_empty = home.view.accounts.is_empty();
    let total = pounds(Pence::new(home.view.total()).unwrap_or(Pence::MAX));
    let body = html! {
        div #outcome .outcome role="status" aria-live="polite" data-outcome=[home.outcome.map(Outcome::word)] {
            @if let Some(outcome) = home.outcome { (outcome.sentence()) }
        }
        div #home .columns data-user=(home.user.id) data-account=[home.account] data-viewer=[home.viewer] data-empty=(is_empty) {
            div.left {
                section.sum aria-label="Everything together" {
                    h1 { "Good to see you, " (home.user.name) }
                    p.total { span.label { "Together" } span data-f="total" { (total) } }
                }
                nav aria-label="Your accounts" {
                    ul #accounts .accounts {
                        @for account in &home.view.accounts {
                            (parts::account(Some(account), home.current().is_some_and(|current| current.id == account.id)))
                        }
                    }
                    p.empty data-when="empty" { "You have no account yet. Give your first one a name, and open it." }
                }
                (statement(home))
            }
            div.right {
                (deeds(home))
                section.card.orders aria-labelledby="orders-title" {
                    h2 #orders-title { "Orders" }
                    ol #orders .list reversed aria-live="polite" {
                        @for payment in &home.view.payments { (parts::order(Some(payment), home.viewer)) }
                    }
                    p.hint data-when="no-orders" hidden[!home.view.payments.is_empty()] { "What you ask for appears here, with its outcome." }
                }
            }
        }
        template #t-account { (parts::account(None, false)) }
        template #t-entry { (parts::entry(None, home.viewer)) }
        template #t-order { (parts::order(None, home.viewer)) }
        (keys())
    };
    frame::page("Accounts", &frame::Head { user: Some(home.user), token: home.token, weather: home.weather }, &body)
}

fn statement(home: &Home<'_>) -> Markup {
    let current = home.current();
    let (entries, more) = match (home.earlier, current) {
        (Some(earlier), _) => (&earlier.entries[..], earlier.more),
        (None, Some(account)) => (&account.entries[..], account.more),
        (None, None) => (&[][..], false),
    };
    let back = current
        .zip(entries.last())
        .map(|(account, last)| format!("/accounts/{}/earlier?before={}", account.id, last.position));
    html! {
        section #statement .card.statement aria-labelledby="statement-title" hidden[current.is_none()] {
            header {
                h2 #statement-title { (current.map_or("", |account| &account.name)) }
                p.hint { "Others pay to " code data-f="id" { (current.map_or("", |account| account.id.as_str())) }
                    " " button.small type="button" data-do="copy" hidden { "Copy" } }
            }
            ol #entries .list reversed {
                @for entry in entries { (parts::entry(Some(entry), home.viewer)) }
            }
            p.hint data-when="no-entries" hidden[current.is_none_or(|account| !account.entries.is_empty())] {
                "Nothing has happened here yet. Pay something in."
            }
            p.back data-when="more" hidden[!more] { a.button data-f="back" href=[back] { "Earlier entries" } }
        }
    }
}

/// The four things that one can ask for, one of them at a time.
fn deeds(home: &Home<'_>) -> Markup {
    let is_empty = home.view.accounts.is_empty();
    let tab = |deed: &str, text: &str, key: &str| {
        let chosen = if is_empty { "open" } else { "pay" };
        html! {
            input.hidden type="radio" name="tab" id={ "tab-" (deed) } value=(deed) checked[deed == chosen];
            label for={ "tab-" (deed) } title={ "Key " (key) } { (text) }
        }
    };
    html! {
        section.card.deeds aria-labelledby="deeds-title" {
            h2 #deeds-title .hidden { "Move money" }
            fieldset.tabs {
                legend.hidden { "What would you like to do?" }
                (tab("pay", "Pay", "p")) (tab("deposit", "Pay in", "d")) (tab("withdraw", "Withdraw", "w")) (tab("open", "Open", "o"))
            }
            (form(home, "pay", "Send money", &html! {
                label for="pay-account" { "From" } (parts::choice("pay-account", &home.view.accounts, home.account))
                label for="pay-to" { "To" }
                input #pay-to name="to" required maxlength="64" placeholder="bob-everyday" autocapitalize="none" spellcheck="false" autocomplete="off";
                (amount("pay"))
                label for="pay-reference" { "Reference" span.optional { " if you like" } }
                input #pay-reference name="reference" maxlength=(REFERENCE_MAX) autocomplete="off";
            }))
            (form(home, "deposit", "Pay in", &html! {
                label for="deposit-account" { "Into" } (parts::choice("deposit-account", &home.view.accounts, home.account))
                (amount("deposit"))
            }))
            (form(home, "withdraw", "Withdraw", &html! {
                label for="withdraw-account" { "From" } (parts::choice("withdraw-account", &home.view.accounts, home.account))
                (amount("withdraw"))
            }))
            (form(home, "open", "Open the account", &html! {
                label for="open-name" { "Name" }
                input #open-name name="name" required maxlength="24" placeholder="Everyday" autocomplete="off";
                p.hint { "Others will pay to " code { (home.user.id) "-" span data-f="slug" { "everyday" } } "." }
            }))
        }
    }
}

fn amount(deed: &str) -> Markup {
    html! {
        label for={ (deed) "-amount" } { "Amount" }
        span.money { span aria-hidden="true" { "£" }
            input id={ (deed) "-amount" } name="amount" required inputmode="decimal" placeholder="0.00" maxlength="24" autocomplete="off"; }
    }
}

fn form(home: &Home<'_>, deed: &str, verb: &str, fields: &Markup) -> Markup {
    html! {
        form.deed id={ "deed-" (deed) } action={ "/" (deed) } method="post" data-deed=(deed) {
            input type="hidden" name="token" value=(home.token);
            input type="hidden" name="request" value=(request_id());
            (fields)
            p.wrong role="alert" data-f="wrong" hidden {}
            button.primary type="submit" { (verb) }
        }
    }
}

fn keys() -> Markup {
    html! {
        dialog #keys aria-labelledby="keys-title" {
            h2 #keys-title { "Keys" }
            dl.keys {
                @for (key, what) in [
                    ("p", "pay somebody"), ("d", "pay in"), ("w", "withdraw"), ("o", "open an account"),
                    ("1–9", "choose an account"), ("y", "copy the account's name"), ("t", "light or dark"), ("?", "this list"),
                ] {
                    dt { kbd { (key) } } dd { (what) }
                }
            }
            form method="dialog" { button { "Close" } }
        }
    }
}
