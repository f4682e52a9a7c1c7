//! The service that the README shows, word for word.

use dacapo_core::{Event, EventType, Key, ServiceName};
use dacapo_service::{Context, Interrupt, Service};

#[derive(Clone)]
pub(crate) struct Greeter;

impl Service for Greeter {
    type State = u64; // how often this guest was greeted

    fn name(&self) -> ServiceName {
        ServiceName::of("greeter")
    }
    fn types(&self) -> Vec<EventType> {
        vec![EventType::of("GuestArrived"), EventType::of("GuestGreeted")]
    }
    fn apply(&self, _: &Key, greetings: &mut u64, event: &Event) {
        if event.event_type.as_str() == "GuestGreeted" {
            *greetings += 1;
        }
    }
    fn handle(&self, event: &Event, context: &mut Context<'_, u64>) -> Result<(), Interrupt> {
        if event.event_type.as_str() == "GuestArrived" {
            let before = *context.state(&event.key)?;
            context.emit(EventType::of("GuestGreeted"), event.key.clone(), &(before + 1));
        }
        Ok(())
    }
}
