"""How the page looks: Gradio's own theme with the fonts that a machine has, and styles for our pieces of HTML.

Colours are Gradio's variables, which change with light and dark.
"""

import gradio as gr

SYSTEM_FONTS = ("ui-sans-serif", "system-ui", "sans-serif")
MONOSPACED = ("ui-monospace", "Consolas", "monospace")


def theme() -> gr.themes.Base:
    default = gr.themes.Default(primary_hue="blue", font=SYSTEM_FONTS, font_mono=MONOSPACED)
    return default.set(body_text_color_subdued="*neutral_500")  # Gradio's hints are too pale to read on white


CSS = """
.gradio-container { width: 100%; max-width: 1120px !important; margin: 0 auto !important; }
.gradio-container > .main { padding-inline: clamp(12px, 3vw, 32px) !important; }
.gradio-container h1 { font-size: 1.6rem; margin: 0 0 .2rem; }
.gradio-container h2 { font-size: 1.2rem; margin: 1rem 0 0; }
.gradio-container h3 { font-size: 1rem; margin: 0 0 .4rem; }
.gradio-container input[role=combobox] { padding-right: 1.8rem; text-overflow: ellipsis; }
.note { padding: .8rem 1rem; border-left: 4px solid var(--color-accent); background: var(--background-fill-secondary); }
.pair { align-items: end; flex-wrap: nowrap !important; }
.pair > button { flex: 0 0 auto; }
figure { margin: 0; }
figcaption, .small { opacity: .75; margin-top: .3rem; font-size: .85rem; overflow-wrap: anywhere; }
.frame { display: flex; flex-wrap: wrap; gap: 1.5rem; align-items: flex-start; min-height: 22rem; }
.frame figure { max-width: 280px; }
.frame > div { flex: 1 1 220px; max-width: 420px; }
.digit { width: 280px; height: 280px; image-rendering: pixelated; border: 1px solid var(--border-color-primary); }
.bar { display: flex; align-items: center; gap: .5rem; line-height: 1.65; }
.bar b { width: 1ch; }
.bar i { flex: 1; height: .8em; background: var(--background-fill-secondary); }
.bar u { display: block; height: 100%; background: var(--body-text-color-subdued); }
.bar.surest u { background: var(--color-accent); }
.bar span { width: 3.2em; text-align: right; font-variant-numeric: tabular-nums; }
.bar.surest { font-weight: 600; }
.picture { max-width: 100%; height: auto; display: block; background: white; }
#strip figure { overflow-x: auto; }
#strip .picture { max-width: none; }
.download { display: inline-block; padding: .5rem 0; }
.digits { font-family: var(--font-mono); background: none; padding: 0; overflow-wrap: anywhere; }
.long { font-size: 1.05rem; }
.answer { font-size: 2.4rem; }
.digits mark { background: #c53030; color: white; border-radius: 2px; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(230px, 1fr)); gap: 1rem; margin-top: .6rem; }
.card { border: 1px solid var(--border-color-primary); border-left-width: 4px; padding: .8rem 1rem; min-width: 0; }
.card.right { border-left-color: #2e9e5b; }
.card.wrong { border-left-color: #d64545; }
.card p { margin: .3rem 0 0; }
.heat-maps { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); gap: 1rem; }
"""
