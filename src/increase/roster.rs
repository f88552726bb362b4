//! The series of one measure: found by name once, then by their place.

use std::collections::HashMap;
use std::sync::Arc;

/// The place of a series, for as long as it is remembered.
///
/// Whoever reads pages finds the place of a series once and keeps it; a place that was given to another series since
/// is recognised and refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    pub(super) measure: u32,
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// What has a name.
pub(super) trait Named {
    fn name(&self) -> &Arc<[u8]>;
}

#[derive(Clone, Debug)]
pub(super) struct Roster<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
    by_name: HashMap<Arc<[u8]>, u32>,
    /// Grows with every series that comes or goes.
    revision: u64,
}

#[derive(Clone, Debug)]
struct Place<T> {
    generation: u32,
    series: Option<T>,
}

impl<T> Default for Roster<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new(), by_name: HashMap::new(), revision: 0 }
    }
}

impl<T: Named> Roster<T> {
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn revision(&self) -> u64 {
        self.revision
    }

    pub fn find(&self, measure: u32, name: &[u8]) -> Option<Slot> {
        let index = *self.by_name.get(name)?;
        Some(Slot { measure, index, generation: self.places[index as usize].generation })
    }

    /// Adds a series whose name is not there yet.
    pub fn add(&mut self, measure: u32, series: T) -> Slot {
        self.revision += 1;
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, series: None });
            u32::try_from(self.places.len() - 1).expect("the number of series has a limit")
        });
        let place = &mut self.places[index as usize];
        self.by_name.insert(Arc::clone(series.name()), index);
        place.series = Some(series);
        Slot { measure, index, generation: place.generation }
    }

    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        let place = self.places.get_mut(slot.index as usize)?;
        (place.generation == slot.generation).then_some(place.series.as_mut()).flatten()
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().filter_map(|place| place.series.as_ref())
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().filter_map(|place| place.series.as_mut())
    }

    /// Takes out the series that `gone` names.
    pub fn remove_if(&mut self, gone: impl Fn(&T) -> bool) -> Vec<T> {
        let mut removed = Vec::new();
        for (index, place) in self.places.iter_mut().enumerate() {
            if let Some(series) = place.series.take_if(|series| gone(series)) {
                place.generation = place.generation.wrapping_add(1);
                self.by_name.remove(series.name());
                self.free.push(index as u32);
                self.revision += 1;
                removed.push(series);
            }
        }
        removed
    }
}
