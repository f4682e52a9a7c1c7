//! SQLite's write-ahead log, as far as it can be read without SQLite: which log it is, and how many frames of it hold.
//!
//! The format is SQLite's own: <https://www.sqlite.org/fileformat2.html#the_write_ahead_log>.

/// Bytes before the first frame.
pub(super) const HEADER: usize = 32;
/// Bytes before a frame's page.
pub(super) const FRAME_HEADER: usize = 24;
/// Of the first four bytes; the last bit tells how checksums take their numbers.
const MAGIC: u32 = 0x377f_0682;

/// Two numbers that SQLite draws whenever it begins the log anew; each frame repeats them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Salt(pub(super) [u8; 8]);

impl Salt {
    /// Of the log that a frame was written to.
    pub(super) fn of_frame(head: &[u8]) -> Option<Self> {
        Some(Self(head.get(8..16)?.try_into().ok()?))
    }
}

/// What a log's bytes hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Log {
    pub(super) salt: Salt,
    /// Frames up to the last whole commit: SQLite reads no further.
    pub(super) frames: u64,
}

impl Log {
    /// None if the log has no header that holds: SQLite takes such a log for empty.
    pub(super) fn read(content: &[u8]) -> Option<Self> {
        let header = Header::read(content)?;
        let mut sum = header.sum;
        let mut frames = 0;
        for (number, frame) in (1..).zip(content.get(HEADER..)?.chunks_exact(FRAME_HEADER + header.page_size)) {
            let (head, page) = frame.split_at_checked(FRAME_HEADER)?;
            if Salt::of_frame(head) != Some(header.salt) {
                break;
            }
            sum = header.add(header.add(sum, head.get(..8)?), page);
            if (Some(sum.0), Some(sum.1)) != (number_at(head, 16), number_at(head, 20)) {
                break;
            }
            if number_at(head, 4) != Some(0) {
                frames = number;
            }
        }
        Some(Self { salt: header.salt, frames })
    }
}

/// How a log begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    /// Checksums take numbers with the first byte as the highest.
    big_endian: bool,
    page_size: usize,
    pub(super) salt: Salt,
    sum: (u32, u32),
}

impl Header {
    /// None if it does not hold.
    pub(super) fn read(content: &[u8]) -> Option<Self> {
        let magic = number_at(content, 0)?;
        let header = Self {
            big_endian: magic & 1 == 1,
            page_size: usize::try_from(number_at(content, 8)?).ok()?,
            salt: Salt(content.get(16..24)?.try_into().ok()?),
            sum: (number_at(content, 24)?, number_at(content, 28)?),
        };
        let holds = magic & !1 == MAGIC && header.add((0, 0), content.get(..24)?) == header.sum;
        (holds && header.page_size.is_power_of_two()).then_some(header)
    }

    /// Bytes of a frame, its page included.
    pub(super) fn frame_size(&self) -> usize {
        FRAME_HEADER + self.page_size
    }

    /// Where a frame begins; the first one is 1.
    pub(super) fn start_of(&self, frame: u64) -> u64 {
        HEADER as u64 + frame.saturating_sub(1) * (FRAME_HEADER + self.page_size) as u64
    }

    /// Goes on with the checksum over more bytes, a multiple of eight.
    fn add(&self, (mut first, mut second): (u32, u32), bytes: &[u8]) -> (u32, u32) {
        let (pairs, _) = bytes.as_chunks::<8>();
        for &[a, b, c, d, e, f, g, h] in pairs {
            let number = |bytes| if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) };
            first = first.wrapping_add(number([a, b, c, d])).wrapping_add(second);
            second = second.wrapping_add(number([e, f, g, h])).wrapping_add(first);
        }
        (first, second)
    }
}

/// Whether two frames say the same: the same page with the same content, and the same of the file's size. Their checksums
/// differ, since each goes on from the one before.
pub(super) fn repeats(frame: &[u8], other: &[u8]) -> bool {
    frame.len() > FRAME_HEADER
        && frame.get(..8) == other.get(..8)
        && frame.get(FRAME_HEADER..) == other.get(FRAME_HEADER..)
}

fn number_at(content: &[u8], at: usize) -> Option<u32> {
    content.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rusqlite::Connection;

    use super::*;

    /// A log that SQLite wrote, of three commits, and how many frames SQLite says it has.
    fn written(name: &str) -> (Vec<u8>, u64) {
        let path = std::env::temp_dir().join(format!("dacapo-{}-{name}.db", std::process::id()));
        drop(fs::remove_file(&path));
        let connection = Connection::open(&path).unwrap();
        connection.pragma_update(None, "journal_mode", "wal").unwrap();
        connection.execute_batch("CREATE TABLE a (b)").unwrap();
        for number in 0..2 {
            connection.execute("INSERT INTO a VALUES (?1)", [number]).unwrap();
        }
        let frames: i64 = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(1)).unwrap();
        let log = fs::read(path.with_extension("db-wal")).unwrap();
        drop(connection);
        fs::remove_file(path).unwrap();
        (log, frames as u64)
    }

    #[test]
    fn a_log_is_read_as_sqlite_reads_it() {
        let (log, frames) = written("as-sqlite");
        assert!(frames >= 3);
        assert_eq!(Log::read(&log).unwrap().frames, frames);
        let header = Header::read(&log[..HEADER]).unwrap();
        assert_eq!(Log::read(&log).unwrap().salt, header.salt);
        for frame in 1..=frames {
            assert_eq!(Salt::of_frame(&log[header.start_of(frame) as usize..]), Some(header.salt), "frame {frame}");
        }
        assert_eq!(header.start_of(frames + 1), log.len() as u64);
    }

    #[test]
    fn a_flipped_bit_ends_the_log_before_the_frame_that_it_is_in() {
        let (log, frames) = written("flipped");
        let frame = (log.len() - HEADER) / frames as usize;
        for at in (0..log.len()).step_by(101) {
            let mut rotten = log.clone();
            rotten[at] ^= 16;
            match at.checked_sub(HEADER) {
                None => assert_eq!(Log::read(&rotten), None, "byte {at}"),
                Some(behind) => {
                    let held = Log::read(&rotten).unwrap().frames;
                    assert!(held <= (behind / frame) as u64, "byte {at}: {held} frames of {frames} hold");
                }
            }
        }
    }

    #[test]
    fn what_is_no_log_is_none() {
        for content in [&[][..], &[0; 31], &[0; 32], &[0xff; 5_000]] {
            assert_eq!(Log::read(content), None);
        }
    }
}
