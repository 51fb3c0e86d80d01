//! Resource limits for one file.
//!
//! The server also limits memory, CPU time, output and wall time of the process. These limits stop
//! earlier and name the cause.

/// Size of a file that is read into memory (PDF, text, images, binary Office formats), in bytes.
pub const FILE_BYTES: u64 = 512 << 20;
/// Unpacked size of an office package, in bytes. Real decks stay below: their images are compressed
/// already.
pub const PACKAGE_BYTES: u64 = 1 << 30;
/// Unpacked size of one XML part, in bytes. A sheet with a million filled cells has about half of
/// it.
pub const XML_BYTES: u64 = 128 << 20;
/// Parts of an office package; files in an archive.
pub const ENTRIES: u64 = 20_000;
/// Depth of nested elements. The deepest nested tables of Word stay below 100.
pub const XML_DEPTH: usize = 256;
/// Size of a stream of a binary Office file, in bytes.
pub const STREAM_BYTES: u64 = 256 << 20;
/// Text kept for the search index, in bytes: about eight million characters.
pub const TEXT_BYTES: usize = 16 << 20;
/// Text of one page, in bytes; a page of a book has 3 KB.
pub const PAGE_TEXT_BYTES: usize = 64 << 10;
/// Headings of an outline.
pub const OUTLINE: usize = 2000;
/// Characters of a title, an author or a heading.
pub const LINE_CHARS: usize = 300;
/// Characters of a path in an archive.
pub const PATH_CHARS: usize = 500;
/// Pixels of an image: a 100-megapixel camera. Decoded they take 400 MB.
pub const IMAGE_PIXELS: u64 = 100_000_000;
/// Bounding box of the large image of a page in pixels: a 1080p projector, a long page.
pub const LARGE: (u32, u32) = (1600, 2400);
/// Bounding box of the small image of a page in pixels, for lists.
pub const SMALL: (u32, u32) = (400, 600);
/// Time to render one page, in seconds. Ordinary pages take 0.1 s.
pub const PAGE_SECONDS: u64 = 15;
/// Pages that may exceed that time; rendering stops after them, because each leaves a busy thread.
pub const SLOW_PAGES: usize = 2;
/// Sheets of a spreadsheet that the client shows as a table.
pub const GRID_SHEETS: usize = 50;
/// Rows of such a sheet.
pub const GRID_ROWS: u32 = 1000;
/// Columns of such a sheet.
pub const GRID_COLUMNS: u32 = 100;
/// Characters of one cell of such a sheet: a paragraph.
pub const GRID_CELL_CHARS: usize = 500;
/// All cells of a spreadsheet, in bytes: compressed, one or two seconds on the link of a village
/// school.
pub const GRID_BYTES: usize = 1 << 20;
/// Rendered pages of a spreadsheet: a preview. The text is complete without them.
pub const SHEET_PAGES: usize = 60;
