//! What one file may cost. Memory, processor time, output and wall time are limited from outside as well; these stop earlier and say why.

/// A document that is read whole: PDF, text, pictures, the older binary formats.
pub const FILE_BYTES: u64 = 512 << 20;
/// Everything in an office package, unpacked. Real decks stay below: their pictures are packed already.
pub const PACKAGE_BYTES: u64 = 1 << 30;
/// One XML part. A sheet with a million filled cells is about half of it.
pub const XML_BYTES: u64 = 128 << 20;
/// Parts of an office package; files in an archive.
pub const ENTRIES: u64 = 20_000;
/// Nested elements. Word's deepest tables in tables stay below 100.
pub const XML_DEPTH: usize = 256;
/// A stream of an older binary file that is read as text.
pub const STREAM_BYTES: u64 = 256 << 20;
/// Text that is kept for the search: about eight million characters.
pub const TEXT_BYTES: usize = 16 << 20;
/// Text of one page; a page of a book has 3 KB.
pub const PAGE_TEXT_BYTES: usize = 64 << 10;
/// Headings.
pub const OUTLINE: usize = 2000;
/// Characters of a title, an author, a heading.
pub const LINE_CHARS: usize = 300;
/// Characters of a path in an archive.
pub const PATH_CHARS: usize = 500;
/// A picture's pixels: a 100-megapixel camera. It takes 400 MB decoded.
pub const PIXELS: u64 = 100_000_000;
/// The large picture of a page: wide enough for a classroom's 1080p projector, in the height of a long page.
pub const LARGE: (u32, u32) = (1600, 2400);
/// The small one, for lists.
pub const SMALL: (u32, u32) = (400, 600);
/// Time that one page may take to be drawn. Ordinary ones take 0.1 s.
pub const PAGE_SECONDS: u64 = 15;
/// Pages that may take longer than that before the rest is left undrawn: each leaves a busy thread behind.
pub const SLOW_PAGES: usize = 2;
/// Sheets, rows and columns of a table as a page shows it: what somebody scrolls through in a browser.
pub const GRID_SHEETS: usize = 50;
pub const GRID_ROWS: u32 = 1000;
pub const GRID_COLUMNS: u32 = 100;
/// Characters of one cell of it: a paragraph.
pub const GRID_CELL_CHARS: usize = 500;
/// All its cells: a village school's line takes a second or two for it, packed.
pub const GRID_BYTES: usize = 1 << 20;
/// Pages of a sheet that are drawn: a preview. Its text is complete without them.
pub const SHEET_PAGES: usize = 60;
