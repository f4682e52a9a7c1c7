//! The page for whoever is not logged in: two forms, and what this is.

use maud::{Markup, html};

use super::frame;
use crate::weather::Weather;

/// What stands in the forms.
pub(crate) struct Welcome<'a> {
    /// What forms bear.
    pub(crate) token: &'a str,
    /// The name that was tried.
    pub(crate) name: &'a str,
    /// Why it did not work.
    pub(crate) wrong: Option<&'a str>,
    /// Whether it was a sign-up.
    pub(crate) is_new: bool,
}

/// The page.
pub(crate) fn page(welcome: &Welcome<'_>, weather: Option<&Weather>) -> Markup {
    let body = html! {
        div.welcome {
            section.pitch {
                h1 { "Money that remembers how it got there." }
                p { "Every penny here is an event that never changes. Balances are played from the beginning, "
                    em { "da capo" } ", and come out the same, whatever breaks in between." }
                ul.plain {
                    li { "Open accounts, pay in, pay each other: both sides see it at once." }
                    li { "Every payment is accepted or rejected, and says why." }
                    li { "Follow any of them back to its cause." }
                }
            }
            section.doors {
                (form(welcome, true))
                (form(welcome, false))
            }
        }
    };
    frame::page("Welcome", &frame::Head { user: None, token: welcome.token, weather }, &body)
}

fn form(welcome: &Welcome<'_>, is_new: bool) -> Markup {
    let (action, title, id) = if is_new { ("/sign-up", "Sign up", "new") } else { ("/log-in", "Log in", "known") };
    let wrong = welcome.wrong.filter(|_| welcome.is_new == is_new);
    let name = if wrong.is_some() { welcome.name } else { "" };
    html! {
        form.card.entry-form action=(action) method="post" {
            h2 { (title) }
            @if let Some(wrong) = wrong { p.wrong role="alert" { (wrong) } }
            input type="hidden" name="token" value=(welcome.token);
            label for={ (id) "-name" } { "Name" }
            input id={ (id) "-name" } name="name" value=(name) required minlength="2" maxlength="20"
                autocomplete="username" autocapitalize="none" spellcheck="false"
                aria-invalid=[wrong.map(|_| "true")];
            label for={ (id) "-password" } { "Password" }
            input id={ (id) "-password" } name="password" type="password" required minlength=[is_new.then_some("8")]
                maxlength="200" autocomplete=(if is_new { "new-password" } else { "current-password" })
                aria-describedby=[is_new.then_some("new-hint")];
            @if is_new { p #new-hint .hint { "At least 8 letters; a few words make a good one." } }
            button.primary type="submit" { (title) }
        }
    }
}
