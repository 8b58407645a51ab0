// Task lists: "- [ ] to do" and "- [x] done".

/** Let list items that begin with a box have one. */
export function tasks(markdown) {
  markdown.core.ruler.after("inline", "tasks", ({ tokens, Token }) => {
    for (let index = 2; index < tokens.length; index += 1) {
      const [item, paragraph, inline] = tokens.slice(index - 2, index + 1);
      const text = inline.children?.[0];
      if (inline.type === "inline" && paragraph.type === "paragraph_open" && item.type === "list_item_open" && text?.type === "text") {
        const box = /^\[([ xX])\]\s+/.exec(text.content);
        if (box) {
          text.content = text.content.slice(box[0].length);
          const token = new Token("task", "input", 0);
          token.attrs = [["type", "checkbox"], ["disabled", ""], ...(box[1] === " " ? [] : [["checked", ""]])];
          inline.children.unshift(token);
          item.attrJoin("class", "task");
        }
      }
    }
  });
}
