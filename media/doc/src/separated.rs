//! Comma-separated values (RFC 4180), and what programs write in their place: semicolons, tabs. Every text is a table of some kind.

use crate::grid::Grid;

/// Adds a table, as one sheet without a name.
pub fn read(text: &str, grid: &mut Grid) {
    let separator = separator(text);
    grid.sheet("");
    let (mut row, mut column) = (0u32, 0u32);
    let mut said = String::new();
    let mut letters = text.chars().peekable();
    let mut quoted = false;
    while let Some(letter) = letters.next() {
        match letter {
            // Inside of quotation marks two of them are one.
            '"' if quoted && letters.next_if_eq(&'"').is_some() => said.push('"'),
            '"' if quoted => quoted = false,
            '"' if said.is_empty() => quoted = true,
            _ if quoted => said.push(letter),
            '\n' => {
                grid.cell(row, column, &said);
                said.clear();
                (row, column) = (row.saturating_add(1), 0);
            }
            letter if letter == separator => {
                grid.cell(row, column, &said);
                said.clear();
                column = column.saturating_add(1);
            }
            _ => said.push(letter),
        }
    }
    grid.cell(row, column, &said);
}

/// The one that the first line with any of them has most of, outside of quotation marks: above the head of a table there is often its title.
fn separator(text: &str) -> char {
    // Of two that are as many the later is taken: a tab is hardly ever part of what somebody wrote, a comma often is.
    const MARKS: [char; 3] = [',', ';', '\t'];
    text.lines()
        .find_map(|line| {
            let count = |mark: &char| {
                line.split('"')
                    .step_by(2)
                    .map(|bare| bare.matches(*mark).count())
                    .sum::<usize>()
            };
            MARKS
                .into_iter()
                .max_by_key(count)
                .filter(|mark| count(mark) > 0)
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
    fn a_list_of_marks_is_a_table() {
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
    fn whatever_is_broken_is_still_a_text() {
        assert_eq!(
            rows("\"never closed, \n x"),
            json!({ "0": { "0": "never closed, \n x" } })
        );
        assert_eq!(rows("one word"), json!({ "0": { "0": "one word" } }));
        assert_eq!(rows(""), Value::Null);
    }
}
