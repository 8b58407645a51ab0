// Bounds on the work that one text can cause. What is over a bound is shown as plain text, so that nothing is lost and
// no text, however odd, freezes the page.

/** Characters of one block (a paragraph, a list, a table …) that are read as Markdown. */
export const MAX_BLOCK_CHARS = 32 * 1024;

/** Characters of a piece of Markdown that is read at once, where it has few marks. */
export const MAX_LIGHT_CHARS = 8 * 1024;

/** Characters of such a piece that may mean something: no letters, digits and spaces. More are read in a worker. */
export const MAX_LIGHT_MARKS = 256;

/** Milliseconds for reading one block in the worker; one that takes longer is shown as plain text. */
export const MAX_PARSE_MS = 2_000;

/** Elements within one paragraph, heading or cell; what comes after them has none. */
export const MAX_INLINE_ELEMENTS = 500;

/** Elements of one block; one that has more is shown as plain text. */
export const MAX_BLOCK_ELEMENTS = 5_000;

/** Levels of lists, quotes and emphasis in each other; what is nested deeper is left out. */
export const MAX_NESTING = 40;

/** Cells of one table. */
export const MAX_TABLE_CELLS = 2_000;

/** Cells of one table that its rows leave out, and that rendering adds. */
export const MAX_ADDED_CELLS = 256;

/** Characters and lines of code that is shown at once; more is shown in steps. */
export const MAX_LIGHT_CODE_CHARS = 16 * 1024;
export const MAX_LIGHT_CODE_LINES = 800;

/** Characters that code which grows gets at once. */
export const CODE_STEP_CHARS = 4 * 1024;

/** Blocks of code of one text that have a head with the language and a button; those after them are code alone. */
export const MAX_CODE_HEADS = 200;

/** Lines of a part of code, which a browser arranges as a whole; and characters, after which its last line ends it. */
export const PART_LINES = 40;
export const PART_CHARS = 2_000;

/** Elements for the colours of one line of code; what comes after them in the line is in the colour around it. */
export const MAX_LINE_ELEMENTS = 500;

/** Characters of a block of code that get colours; the rest of it stays in one colour. */
export const MAX_COLOURED_CHARS = 16 * 1024;

/** Milliseconds for the colours of one block of code, in the worker that finds them. */
export const MAX_COLOUR_MS = 1_000;

/** Pieces of code whose colours are kept: a text that grows is rendered many times. */
export const MAX_KNOWN_COLOURS = 100;

/** Links from a footnote back to the places that refer to it. */
export const MAX_NOTE_BACKS = 10;

/** References to footnotes of one text that get numbers, counted block by block. */
export const MAX_NOTE_REFS = 1_000;

/** Characters of one formula. */
export const MAX_MATHS_CHARS = 4_000;

/** Characters of a formula that defines macros, which can make much of little. */
export const MAX_MACRO_MATHS_CHARS = 1_000;

/** Characters of the MathML of one formula. */
export const MAX_MATHML_CHARS = 200_000;

/** Formulas of one block. */
export const MAX_BLOCK_FORMULAS = 200;
