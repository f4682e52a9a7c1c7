//! Somebody at the bank's page, with a browser of their own.

use serde_json::{Value, json};

use crate::{browser::Browser, demo::Demo};

/// Everybody's.
pub(crate) const PASSWORD: &str = "four words and more";
/// Somebody.
pub(crate) struct Person {
    pub(crate) browser: Browser,
    pub(crate) name: String,
}

impl Person {
    /// Somebody whose browser is where they want it.
    pub(crate) fn new(browser: Browser, name: &str) -> Self {
        Self { browser, name: name.to_owned() }
    }

    /// Somebody who has signed up by typing, and whose page is live.
    pub(crate) async fn sign_up(browser: Browser, demo: &Demo, name: &str) -> Self {
        let mut person = Self::new(browser, name);
        person.browser.go(&demo.page).await;
        person.browser.eval("document.querySelector('#new-name').focus()").await;
        person.type_text(name).await;
        person.browser.press("Tab").await;
        person.type_text(PASSWORD).await;
        person.browser.press("Enter").await;
        person.browser.loaded().await;
        person.live().await;
        person
    }

    /// The same, with an account `NAME-everyday` and so much in it.
    pub(crate) async fn with_account(browser: Browser, demo: &Demo, name: &str, pounds: &str) -> Self {
        let mut person = Self::sign_up(browser, demo, name).await;
        person.submit("open", &[("name", "Everyday")]).await;
        let account = format!("{name}-everyday");
        person.until(&format!("document.querySelector('[data-id={account}] .balance')")).await;
        person.submit("deposit", &[("amount", pounds)]).await;
        person.balance(&account, &format!("£{pounds}.00")).await;
        person
    }

    /// Waits until the page is told of changes.
    pub(crate) async fn live(&mut self) {
        self.until("document.querySelector('#line')?.dataset.line === 'live'").await;
    }

    /// Waits until the page says so.
    pub(crate) async fn until(&mut self, what: &str) {
        self.browser.until(what).await;
    }

    /// Asks for a fault; what was done, when it is done. The page may tell of the next fault as soon.
    pub(crate) async fn chaos(&mut self, deed: &str) -> String {
        let script = format!(
            "(() => {{ const form = document.querySelector('form[data-deed={deed}]');
               return fetch(form.action, {{ method: 'POST', body: new URLSearchParams(new FormData(form)),
                 headers: {{ accept: 'application/json' }} }}).then(answer => answer.text()); }})()"
        );
        self.browser.eval(&script).await.as_str().expect("an answer").to_owned()
    }

    /// Waits until the page shows that an account holds this.
    pub(crate) async fn balance(&mut self, account: &str, pounds: &str) {
        self.until(&format!("document.querySelector('[data-id={account}] .balance')?.textContent === '{pounds}'"))
            .await;
    }

    /// Types into whatever has the focus.
    pub(crate) async fn type_text(&mut self, text: &str) {
        self.browser.call("Input.insertText", json!({"text": text})).await;
    }

    /// Fills in a form of the page and sends it, as its button does.
    pub(crate) async fn submit(&mut self, deed: &str, fields: &[(&str, &str)]) {
        let fields = json!(fields.iter().copied().collect::<std::collections::BTreeMap<_, _>>());
        let script = format!(
            "(() => {{ document.querySelector('#tab-{deed}').checked = true; const form = document.querySelector('#deed-{deed}');
               for (const [name, value] of Object.entries({fields})) form.elements[name].value = value; form.requestSubmit(); }})()"
        );
        self.browser.eval(&script).await;
    }

    /// Sends a form past the page's own checks; its outcome.
    pub(crate) async fn send(&mut self, deed: &str, fields: &Value) -> Value {
        let script = format!(
            "(() => {{ const body = new URLSearchParams({fields}); const form = document.querySelector('#deed-{deed}');
               for (const name of ['token', 'request']) body.set(name, form.elements[name].value);
               return fetch('/{deed}', {{ method: 'POST', body, headers: {{ accept: 'application/json' }} }}).then(answer => answer.json()); }})()"
        );
        self.browser.eval(&script).await
    }

    /// Does something that leads to another page.
    pub(crate) async fn follow(&mut self, script: &str) {
        self.browser.eval(script).await;
        self.browser.loaded().await;
    }

    /// Signs up or logs in with a form of the first page.
    pub(crate) async fn enter(&mut self, action: &str, name: &str, password: &str) {
        let script = format!(
            "(() => {{ const form = document.querySelector('form[action=\"{action}\"]');
               form.elements.name.value = {}; form.elements.password.value = {}; form.requestSubmit(); }})()",
            json!(name),
            json!(password)
        );
        self.follow(&script).await;
    }

    /// Sends a form without script, and waits for the page that it leads to.
    pub(crate) async fn post(&mut self, deed: &str, fields: &[(&str, &str)]) {
        self.submit(deed, fields).await;
        self.browser.loaded().await;
    }

    /// The text of the first element that a selector finds.
    pub(crate) async fn text(&mut self, selector: &str) -> String {
        let text = self.browser.eval(&format!("document.querySelector({selector:?})?.textContent")).await;
        text.as_str().unwrap_or_else(|| panic!("{selector} is not there")).to_owned()
    }
}
