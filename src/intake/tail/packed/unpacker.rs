//! Compressed files, member by member.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use super::super::disk;
use super::STEP;
use crate::intake::archive::Kind;

type Input = BufReader<File>;

/// Unpacks a file member by member.
pub(super) struct Unpacker {
    kind: Kind,
    decoder: Decoder,
}

impl std::fmt::Debug for Unpacker {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Unpacker({})", self.kind.name())
    }
}

enum Decoder {
    Gzip(Box<flate2::bufread::GzDecoder<Input>>),
    Zstd(zstd::Decoder<'static, Input>),
    /// Between two members, or behind the last.
    Between(Input),
    /// Nothing can be read any more.
    Failed(File),
}

pub(super) enum Unpacked {
    /// So many bytes, never 0.
    Text(usize),
    MemberEnd,
    End,
    Torn,
}

impl Unpacker {
    pub fn new(file: File, path: &Path) -> io::Result<Self> {
        let mut magic = [0; 4];
        let length = disk::read_at(&file, path, &mut magic, 0)?;
        Ok(Self { kind: Kind::of(&magic[..length]), decoder: Decoder::Between(BufReader::with_capacity(STEP, file)) })
    }

    /// The same file from its beginning.
    pub fn again(self) -> io::Result<Self> {
        let mut file = match self.decoder {
            Decoder::Gzip(decoder) => decoder.into_inner().into_inner(),
            Decoder::Zstd(decoder) => decoder.finish().into_inner(),
            Decoder::Between(input) => input.into_inner(),
            Decoder::Failed(file) => file,
        };
        file.rewind()?;
        Ok(Self { kind: self.kind, decoder: Decoder::Between(BufReader::with_capacity(STEP, file)) })
    }

    /// How much of the file was read, roughly.
    pub fn taken(&self) -> io::Result<u64> {
        let mut file = match &self.decoder {
            Decoder::Gzip(decoder) => decoder.get_ref().get_ref(),
            Decoder::Zstd(decoder) => decoder.get_ref().get_ref(),
            Decoder::Between(input) => input.get_ref(),
            Decoder::Failed(file) => file,
        };
        file.stream_position()
    }

    /// Unpacks some bytes of one member.
    ///
    /// # Errors
    /// When the file cannot be read; what cannot be unpacked is torn.
    pub fn read(&mut self, text: &mut [u8]) -> io::Result<Unpacked> {
        if let Some(end) = self.begin_member()? {
            return Ok(end);
        }
        let read = match &mut self.decoder {
            Decoder::Gzip(decoder) => decoder.read(text),
            Decoder::Zstd(decoder) => decoder.read(text),
            Decoder::Between(_) | Decoder::Failed(_) => return Ok(Unpacked::Torn),
        };
        match read {
            Ok(0) => {
                self.end_member()?;
                Ok(Unpacked::MemberEnd)
            }
            Ok(length) => Ok(Unpacked::Text(length)),
            Err(error) if error.raw_os_error().is_some() => Err(error),
            Err(_) => Ok(Unpacked::Torn),
        }
    }

    /// Sets up the decoder of the next member, if one is needed; says so when there is no next one.
    fn begin_member(&mut self) -> io::Result<Option<Unpacked>> {
        let Decoder::Between(input) = &mut self.decoder else { return Ok(None) };
        // Tapes and blocks pad with zeros.
        let kind = loop {
            let ahead = io::BufRead::fill_buf(input)?;
            let zeros = ahead.iter().take_while(|byte| **byte == 0).count();
            match ahead {
                [] => return Ok(Some(Unpacked::End)),
                _ if zeros > 0 => io::BufRead::consume(input, zeros),
                _ => break self.kind,
            }
        };
        let file = input.get_ref().try_clone()?;
        let Decoder::Between(input) = std::mem::replace(&mut self.decoder, Decoder::Failed(file)) else {
            return Ok(None);
        };
        match kind {
            Kind::Gzip => self.decoder = Decoder::Gzip(Box::new(flate2::bufread::GzDecoder::new(input))),
            Kind::Zstd => self.decoder = Decoder::Zstd(zstd::Decoder::with_buffer(input)?.single_frame()),
            Kind::Plain => {}
        }
        Ok(None)
    }

    fn end_member(&mut self) -> io::Result<()> {
        let file = match &self.decoder {
            Decoder::Gzip(decoder) => decoder.get_ref().get_ref().try_clone()?,
            Decoder::Zstd(decoder) => decoder.get_ref().get_ref().try_clone()?,
            Decoder::Between(_) | Decoder::Failed(_) => return Ok(()),
        };
        self.decoder = match std::mem::replace(&mut self.decoder, Decoder::Failed(file)) {
            Decoder::Gzip(decoder) => Decoder::Between(decoder.into_inner()),
            Decoder::Zstd(decoder) => Decoder::Between(decoder.finish()),
            other => other,
        };
        Ok(())
    }
}
