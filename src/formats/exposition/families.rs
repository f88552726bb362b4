//! Which family a sample belongs to, and whether metadata stand where they may.
//!
//! A family is what `TYPE`, `HELP` and `UNIT` speak of: `h` with the samples `h_bucket`, `h_sum` and `h_count`. Without
//! metadata every name is a family of its own.

use std::collections::HashMap;

use super::comment::Keyword;
use super::{Fault, Format};

/// The type of a metric family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MetricType {
    /// Only goes up, but for resets.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by upper bounds.
    Histogram,
    /// Counts by upper bounds, of what there is now; of OpenMetrics.
    GaugeHistogram,
    /// Precomputed quantiles.
    Summary,
    /// Always 1, and its labels are of interest; of OpenMetrics.
    Info,
    /// Several booleans; of OpenMetrics.
    StateSet,
    /// `untyped` in the text format, `unknown` in OpenMetrics, or not told.
    #[default]
    Unknown,
}

impl MetricType {
    fn read(word: &[u8], format: Format) -> Option<Self> {
        let strict = format == Format::OpenMetrics;
        Some(match word {
            b"counter" => Self::Counter,
            b"gauge" => Self::Gauge,
            b"histogram" => Self::Histogram,
            b"summary" => Self::Summary,
            b"untyped" if !strict => Self::Unknown,
            b"unknown" if strict => Self::Unknown,
            b"gaugehistogram" if strict => Self::GaugeHistogram,
            b"info" if strict => Self::Info,
            b"stateset" if strict => Self::StateSet,
            _ => return None,
        })
    }

    /// What the names of its samples may end with, besides nothing.
    fn suffixes(self, format: Format) -> &'static [&'static [u8]] {
        match (self, format) {
            (Self::Counter, Format::OpenMetrics) => &[b"_total", b"_created"],
            (Self::Histogram, Format::Text) => &[b"_bucket", b"_sum", b"_count"],
            (Self::Histogram, Format::OpenMetrics) => &[b"_bucket", b"_sum", b"_count", b"_created"],
            (Self::GaugeHistogram, _) => &[b"_bucket", b"_gsum", b"_gcount"],
            (Self::Summary, Format::Text) => &[b"_sum", b"_count"],
            (Self::Summary, Format::OpenMetrics) => &[b"_sum", b"_count", b"_created"],
            (Self::Info, _) => &[b"_info"],
            _ => &[],
        }
    }
}

/// A name of the page, numbered in the order of appearance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NameId(pub(crate) u32);

/// The names of a page.
#[derive(Debug, Default)]
pub(super) struct Families {
    ids: HashMap<Box<[u8]>, usize>,
    all: Vec<Family>,
    current: Option<usize>,
    joined: Vec<u8>,
}

/// A name: that of a family, of samples, or of both.
#[derive(Clone, Copy, Debug, Default)]
struct Family {
    /// The family that samples of this name belong to, once there are some.
    of_samples: Option<usize>,
    metric_type: Option<MetricType>,
    helped: bool,
    measured: bool,
    sampled: bool,
    /// Another family has begun behind its samples.
    closed: bool,
}

impl Families {
    pub(super) fn clear(&mut self) {
        self.ids.clear();
        self.all.clear();
        self.current = None;
    }

    /// Takes a line of metadata.
    pub(super) fn describe(&mut self, keyword: Keyword, name: &[u8], text: &[u8], format: Format) -> Result<(), Fault> {
        let strict = format == Format::OpenMetrics;
        let metric_type = match keyword {
            Keyword::Type => Some(MetricType::read(text, format).ok_or(Fault::UnknownType)?),
            Keyword::Unit if !text.is_empty() && !ends_with_unit(name, text) => return Err(Fault::Unit),
            _ => None,
        };
        let id = self.id(name);
        let told = match keyword {
            Keyword::Type => self.all[id].metric_type.replace(metric_type.unwrap_or_default()).is_some(),
            Keyword::Help => std::mem::replace(&mut self.all[id].helped, true),
            Keyword::Unit => std::mem::replace(&mut self.all[id].measured, true),
        };
        if told {
            return Err(Fault::SecondMetadata(keyword.name()));
        }
        let late = self.all[id].sampled && (strict || keyword == Keyword::Type);
        if late || metric_type.is_some_and(|metric_type| self.has_samples_of(name, metric_type, format)) {
            return Err(Fault::LateMetadata(keyword.name()));
        }
        self.enter(id, strict)
    }

    /// Takes the name of a sample; gives the name's number and the type of its family.
    pub(super) fn sample(&mut self, name: &[u8], format: Format) -> Result<(NameId, MetricType), Fault> {
        let id = self.id(name);
        let family = match self.all[id].of_samples {
            Some(family) => family,
            None => self.family_of(id, name, format),
        };
        self.all[id].of_samples = Some(family);
        self.enter(family, format == Format::OpenMetrics)?;
        self.all[family].sampled = true;
        Ok((NameId(id as u32), self.all[family].metric_type.unwrap_or_default()))
    }

    /// Takes another sample with a name that had one.
    pub(super) fn sample_again(&mut self, name: NameId, format: Format) -> Result<(), Fault> {
        match self.all[name.0 as usize].of_samples {
            Some(family) => self.enter(family, format == Format::OpenMetrics),
            None => Ok(()),
        }
    }

    /// Whether another sample with a name that had one may follow, and changes nothing.
    #[inline(always)]
    pub(super) fn goes_on(&self, name: NameId, format: Format) -> bool {
        format == Format::Text || self.all[name.0 as usize].of_samples == self.current
    }

    fn id(&mut self, name: &[u8]) -> usize {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let id = self.all.len();
        self.ids.insert(name.into(), id);
        self.all.push(Family::default());
        id
    }

    fn family_of(&self, id: usize, name: &[u8], format: Format) -> usize {
        if self.all[id].metric_type.is_some() {
            return id;
        }
        let base = |family: &Family, base: &[u8]| {
            let suffix = &name[base.len()..];
            family.metric_type.is_some_and(|metric_type| metric_type.suffixes(format).contains(&suffix))
        };
        let underscore = memchr::memrchr(b'_', name).unwrap_or(0);
        let named = self.ids.get(&name[..underscore]).copied();
        named.filter(|family| base(&self.all[*family], &name[..underscore])).unwrap_or(id)
    }

    /// Whether there are samples already that a family of this name and type would have had.
    fn has_samples_of(&mut self, name: &[u8], metric_type: MetricType, format: Format) -> bool {
        metric_type.suffixes(format).iter().any(|suffix| {
            self.joined.clear();
            self.joined.extend_from_slice(name);
            self.joined.extend_from_slice(suffix);
            // Those of a family that was declared by its full name are that family's.
            let sampled = |id: &usize| self.all[*id].sampled && self.all[*id].metric_type.is_none();
            self.ids.get(self.joined.as_slice()).is_some_and(sampled)
        })
    }

    /// A line of `family` follows.
    #[inline(always)]
    fn enter(&mut self, family: usize, strict: bool) -> Result<(), Fault> {
        if !strict || self.current == Some(family) {
            return Ok(());
        }
        if let Some(left) = self.current.replace(family) {
            self.all[left].closed = self.all[left].sampled;
        }
        if self.all[family].closed { Err(Fault::Interleaved) } else { Ok(()) }
    }
}

fn ends_with_unit(name: &[u8], unit: &[u8]) -> bool {
    name.strip_suffix(unit).is_some_and(|before| before.len() > 1 && before.ends_with(b"_"))
}
