//! What of a filter a store can answer by its indexes.

use dacapo_core::{CorrelationId, EventId, EventType, Key, NameError, Position, Source, store::Query};

use super::{Bound, Field, Filter, NoFilter, Term, What, glob};

impl Filter {
    /// What the store shall look for: it may find more than the filter wants, never less. Patterns of types are answered
    /// by the types that the log has (`known`; none if nobody knows them).
    pub fn query(&self, known: Option<&[EventType]>) -> Result<Query, NoFilter> {
        let mut query = Query::default();
        for Term { what, .. } in self.terms.iter().filter(|term| !term.negated) {
            match what {
                What::Field(field, values) if values.iter().all(|value| !value.contains('*')) => {
                    put(&mut query, *field, values)?;
                }
                What::Field(Field::Type, patterns) if query.types.is_empty() => {
                    let fits = |name: &&EventType| patterns.iter().any(|pattern| glob(pattern, name.as_str()));
                    query.types = known.unwrap_or_default().iter().filter(fits).cloned().collect();
                    if known.is_some() && query.types.is_empty() {
                        // No type at all would mean every type; a pattern is no event's type.
                        put(&mut query, Field::Type, patterns)?;
                    }
                }
                What::After(Bound::Time(time)) => query.from = query.from.max(Some(*time)),
                What::Before(Bound::Time(time)) => {
                    query.until = Some(query.until.map_or(*time, |until| until.min(*time)));
                }
                _ => {}
            }
        }
        Ok(query)
    }

    /// The positions between which every event lies that it wants, both exclusive: as far as its bounds say.
    pub fn between(&self) -> (Position, Position) {
        let (mut after, mut before) = (Position::ZERO, Position(u64::MAX));
        for term in &self.terms {
            match (&term.what, term.negated) {
                (What::After(Bound::Position(position)), false) => after = after.max(*position),
                (What::Before(Bound::Position(position)), false) => before = before.min(*position),
                _ => {}
            }
        }
        (after, before)
    }
}

/// One exact value goes into the query; several do so only for types, which a query takes several of.
fn put(query: &mut Query, field: Field, values: &[String]) -> Result<(), NameError> {
    match (field, values) {
        (Field::Type, values) if query.types.is_empty() => {
            query.types = values.iter().map(|value| EventType::new(value.clone())).collect::<Result<_, _>>()?;
        }
        (Field::Key, [value]) => query.key = Some(Key::new(value.clone())?),
        (Field::Correlation, [value]) => query.correlation = Some(CorrelationId::new(value.clone())?),
        (Field::Causation, [value]) => query.causation = Some(EventId::new(value.clone())?),
        (Field::Source, [value]) => query.source = Some(Source::new(value.clone())?),
        (Field::Id, [value]) => query.id = Some(EventId::new(value.clone())?),
        _ => {}
    }
    Ok(())
}
