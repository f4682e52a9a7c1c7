//! HTML, one stylesheet, one module of script.
//!
//! Every page is whole without script. What the script makes anew (accounts, entries, orders) it makes of templates that are
//! written here by the same functions as the page's own, so that there is one place where each of them looks as it does.

mod frame;
pub(crate) mod home;
mod parts;
pub(crate) mod welcome;

use std::sync::LazyLock;

use dacapo_reporting::page::frame::TOKENS;
use maud::{Markup, html};

/// The stylesheet: the house's tokens of colour, then the bank's looks.
pub static STYLE: LazyLock<String> = LazyLock::new(|| format!("{TOKENS}{}", include_str!("../../assets/bank.css")));
/// The script.
pub const SCRIPT: &str = include_str!("../../assets/bank.js");

/// A page with one sentence.
pub(crate) fn plain(title: &str, sentence: &str) -> Markup {
    let body = html! {
        section.card.alone {
            h1 { (title) }
            p { (sentence) }
            p { a.button href="/" { "To the beginning" } }
        }
    };
    frame::page(title, &frame::Head::default(), &body)
}
