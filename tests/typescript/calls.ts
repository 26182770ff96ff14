// What a mobile developer writes against the generated types. tsc --strict must accept it; a line marked @ts-expect-error must be refused.
import type { components, paths } from "./gateway";

type Predict = paths["/v1/models/flight-delay:predict"]["post"];
type Question = Predict["requestBody"]["content"]["application/json"];
type Answer = Predict["responses"][200]["content"]["application/json"];
type Problem = Predict["responses"][422]["content"]["application/problem+json"];
type Shed = Predict["responses"][429]["headers"];
type Unready = Predict["responses"][503]["headers"];

// wind_speed may be left out, or null
export const left_out: Question = { instances: [{ carrier: "UA", distance: 719 }] };
export const empty: Question = { instances: [{ carrier: "UA", distance: 719, wind_speed: null }] };
// @ts-expect-error distance is required
export const incomplete: Question = { instances: [{ carrier: "UA" }] };

export function probability(answer: Answer): number {
  const version: number = answer.model_version;
  return version > 0 ? answer.predictions[0].probability : NaN;
}

// errors is missing on most problems
export const without: Problem = { type: "about:blank", title: "no such model", status: 404, detail: "…", request_id: "a" };

export function places(problem: Problem): string[] {
  // @ts-expect-error errors may be missing
  problem.errors.length;
  return (problem.errors ?? []).map((error) => `${error.pointer} ${error.detail}`);
}

export function waitSeconds(shed: Shed | Unready): number {
  const seconds: number = shed["retry-after"];
  const id: string = shed["x-request-id"];
  return id ? seconds : 0;
}

export function versionOf(headers: Predict["responses"][200]["headers"]): number {
  return headers["ratchet-model-version"];
}

export function isReady(said: components["schemas"]["Readiness"]): boolean {
  return said.status === "ready";
}
