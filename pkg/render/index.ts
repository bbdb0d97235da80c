/** Rendering the templates of layers in threads of their own, with limits on time, memory and output. */
export { Renderer, type Files, type RenderRequest, type RendererOptions } from "./renderer.ts";
