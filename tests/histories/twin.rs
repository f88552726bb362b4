//! The slow obvious twin: it keeps every reading of every series and looks at them once all are there.

use super::world::Shape;

/// What a page said of a series.
#[derive(Clone, Debug)]
pub struct Reading {
    pub at_ms: i64,
    pub true_ms: i64,
    /// Which life of which replica; only the judge may look at it.
    pub who: (usize, usize),
    pub process_ms: Option<i64>,
    /// The same, or that of the last page that said.
    pub known_ms: Option<i64>,
    pub created_ms: Option<i64>,
    pub values: Vec<u64>,
}

pub struct Twin {
    shape: Shape,
    /// By page, then by series.
    pages: Vec<Vec<Option<Reading>>>,
    /// By page: who answered, and what it said of its start.
    who: Vec<((usize, usize), Option<i64>)>,
    first_page_ms: Option<i64>,
}

impl Reading {
    fn fell_since(&self, before: &Self) -> bool {
        self.values.iter().zip(&before.values).any(|(now, then)| now < then)
    }

    /// The starts of two readings, as far as they can be compared.
    fn starts_since(&self, before: &Self) -> Option<(i64, i64)> {
        let known = before.process_ms.zip(self.known_ms).filter(|(then, now)| then != now);
        before.created_ms.zip(self.created_ms).or(before.process_ms.zip(self.process_ms)).or(known)
    }

    /// What was counted since the reading before.
    fn since(&self, before: &Self) -> Vec<u64> {
        let differs = self.starts_since(before).filter(|(then, now)| then != now);
        match differs {
            Some((_, now)) if now > before.at_ms => self.values.clone(),
            Some(_) => vec![0; self.values.len()],
            None if self.fell_since(before) => self.values.clone(),
            None => self.values.iter().zip(&before.values).map(|(now, then)| now - then).collect(),
        }
    }
}

impl Twin {
    pub fn new(shape: Shape) -> Self {
        Self { shape, pages: Vec::new(), who: Vec::new(), first_page_ms: None }
    }

    pub fn show(&mut self, at_ms: i64, who: (usize, usize), process_ms: Option<i64>, page: Vec<Option<Reading>>) {
        self.who.push((who, process_ms));
        self.first_page_ms.get_or_insert(at_ms);
        self.pages.push(page);
    }

    fn readings(&self, series: usize) -> Vec<&Reading> {
        self.pages.iter().filter_map(|page| page[series].as_ref()).collect()
    }

    fn pairs(&self) -> impl Iterator<Item = (&Reading, &Reading)> {
        let series = (0..self.shape.series()).map(|series| self.readings(series));
        series.flat_map(|readings| readings.windows(2).map(|two| (two[0], two[1])).collect::<Vec<_>>())
    }

    /// Good and all events, of a metric by code or of histograms.
    pub fn count(&self) -> (u64, u64) {
        let (mut good, mut total) = (0, 0);
        for series in 0..self.shape.series() {
            let readings = self.readings(series);
            let mut add = |values: &[u64]| match self.shape {
                Shape::Histogram => (good, total) = (good + values[1], total + values[2]),
                _ if series < 2 => (good, total) = (good + values[0], total + values[0]),
                _ => total += values[0],
            };
            if let Some(first) = readings.first() {
                let start_ms = first.created_ms.or(first.process_ms);
                if self.is_not_on_the_first_page(series) && start_ms > self.first_page_ms {
                    add(&first.values);
                }
            }
            readings.windows(2).for_each(|two| add(&two[1].since(two[0])));
        }
        (good, total)
    }

    fn is_not_on_the_first_page(&self, series: usize) -> bool {
        self.pages.first().is_some_and(|page| page[series].is_none())
    }

    /// Whether a process ended between two readings and neither a value nor a start time shows it.
    pub fn has_unseen_restart(&self) -> bool {
        let by_series = self
            .pairs()
            .any(|(then, now)| then.who != now.who && !now.fell_since(then) && now.starts_since(then).is_none());
        by_series
            || self.who.windows(2).enumerate().any(|(page, two)| {
                two[0].0 != two[1].0 && two[0].1.zip(two[1].1).is_none() && !self.shows_a_restart(page + 1)
            })
    }

    /// Whether any series of a page is visibly of another process than the page before.
    fn shows_a_restart(&self, page: usize) -> bool {
        self.pages[page].iter().enumerate().any(|(series, now)| {
            let then = self.pages[..page].iter().rev().find_map(|page| page[series].as_ref());
            let then = then.filter(|then| then.who == self.who[page - 1].0);
            now.as_ref().zip(then).is_some_and(|(now, then)| {
                now.fell_since(then) || now.starts_since(then).is_some_and(|(then, now)| then != now)
            })
        })
    }

    /// The replica that gave all pages.
    pub fn only_replica(&self) -> Option<usize> {
        let ((first, _), _) = *self.who.first()?;
        self.who.iter().all(|((replica, _), _)| *replica == first).then_some(first)
    }

    /// Whether two readings of a series in a row are of different replicas.
    pub fn is_mixed(&self) -> bool {
        self.pairs().any(|(then, now)| then.who.0 != now.who.0)
    }

    /// The most pages among ten in a row on which a value fell that nothing explains.
    pub fn falls_in_ten(&self) -> usize {
        let mut last: Vec<Option<&Reading>> = vec![None; self.shape.series()];
        let mut fell = Vec::new();
        for page in &self.pages {
            let mut falls = false;
            for (last, now) in last.iter_mut().zip(page) {
                let Some(now) = now else { continue };
                falls |= last.is_some_and(|then| now.fell_since(then) && now.starts_since(then).is_none());
                *last = Some(now);
            }
            fell.push(falls);
        }
        fell.windows(10.min(fell.len().max(1))).map(|ten| ten.iter().filter(|fell| **fell).count()).max().unwrap_or(0)
    }

    /// When the last reading of a series was true.
    pub fn last_true_ms(&self, series: usize) -> Option<i64> {
        self.readings(series).last().map(|reading| reading.true_ms)
    }

    /// Whether the last page shows every series that was ever shown.
    pub fn is_whole(&self) -> bool {
        let seen = (0..self.shape.series()).filter(|series| !self.readings(*series).is_empty());
        self.pages.last().is_some_and(|page| seen.into_iter().all(|series| page[series].is_some()))
    }
}
