//! Comma-separated values (RFC 4180), also with semicolons or tabs. Parsing cannot fail: any text
//! is a table with at least one column.

use crate::grid::Grid;

/// Reads a table into one sheet without a name.
pub fn read(text: &str, grid: &mut Grid) {
    let separator = detect_separator(text);
    grid.begin_sheet("");
    let (mut row, mut column) = (0u32, 0u32);
    let mut cell = String::new();
    let mut characters = text.chars().peekable();
    let mut quoted = false;
    while let Some(character) = characters.next() {
        match character {
            // A doubled quote inside quotes is an escaped quote (RFC 4180 §2.7).
            '"' if quoted && characters.next_if_eq(&'"').is_some() => cell.push('"'),
            '"' if quoted => quoted = false,
            '"' if cell.is_empty() => quoted = true,
            _ if quoted => cell.push(character),
            '\n' => {
                grid.set_cell(row, column, &cell);
                cell.clear();
                (row, column) = (row.saturating_add(1), 0);
            }
            character if character == separator => {
                grid.set_cell(row, column, &cell);
                cell.clear();
                column = column.saturating_add(1);
            }
            _ => cell.push(character),
        }
    }
    grid.set_cell(row, column, &cell);
}

/// Detects the most frequent separator outside of quotes in the first line that has one. Lines
/// before it, such as a title above the header, have none.
fn detect_separator(text: &str) -> char {
    // A tie goes to the later one: text often contains commas and hardly ever tabs.
    const SEPARATORS: [char; 3] = [',', ';', '\t'];
    text.lines()
        .find_map(|line| {
            let count = |separator: &char| {
                line.split('"')
                    .step_by(2)
                    .map(|unquoted| unquoted.matches(*separator).count())
                    .sum::<usize>()
            };
            SEPARATORS
                .into_iter()
                .max_by_key(count)
                .filter(|separator| count(separator) > 0)
        })
        .unwrap_or(',')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn rows(text: &str) -> Value {
        let mut grid = Grid::default();
        read(text, &mut grid);
        let sheets = serde_json::to_value(grid.into_sheets()).expect("JSON");
        sheets[0]["rows"].clone()
    }

    #[test]
    fn a_list_of_grades_is_a_table() {
        assert_eq!(
            rows("姓名,语文,数学\r\n张小明,95,\"88,5\"\r\n\r\n李小红,,99"),
            json!({ "0": { "0": "姓名", "1": "语文", "2": "数学" }, "1": { "0": "张小明", "1": "95", "2": "88,5" }, "3": { "0": "李小红", "2": "99" } })
        );
        assert_eq!(
            rows("a\tb,c\n1\t2"),
            json!({ "0": { "0": "a", "1": "b,c" }, "1": { "0": "1", "1": "2" } })
        );
        assert_eq!(
            rows("期末成绩\n姓名,语文\n张小明,95"),
            json!({ "0": { "0": "期末成绩" }, "1": { "0": "姓名", "1": "语文" }, "2": { "0": "张小明", "1": "95" } })
        );
        assert_eq!(
            rows("\"a,b,c\";d"),
            json!({ "0": { "0": "a,b,c", "1": "d" } })
        );
        assert_eq!(
            rows("a;b\n\"x \"\"y\"\"\nz\";2"),
            json!({ "0": { "0": "a", "1": "b" }, "1": { "0": "x \"y\"\nz", "1": "2" } })
        );
    }

    #[test]
    fn malformed_input_is_still_a_table() {
        assert_eq!(
            rows("\"never closed, \n x"),
            json!({ "0": { "0": "never closed, \n x" } })
        );
        assert_eq!(rows("one word"), json!({ "0": { "0": "one word" } }));
        assert_eq!(rows(""), Value::Null);
    }
}
