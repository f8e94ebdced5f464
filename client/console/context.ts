// What every view is given.
import type { Access } from './access.ts';
import type { Known } from './applications.ts';
import type { Live } from './live.ts';
import type { Place } from './place.ts';

export interface Context {
  readonly access: Access;
  readonly application: Known;
  readonly live: Live;
  readonly place: Place;
  /** Goes to another place; `replace` leaves no step in the history. */
  go(change: Partial<Place>, how?: { replace?: boolean }): void;
  /** Is told of a change of place that stays within the view. */
  onPlace(hear: (place: Place) => void): void;
  /** Tells a screen reader, once and politely. */
  announce(text: string): void;
  /** Takes an error that ends the visit (the token is over) and answers true; any other is the view's to show. */
  endsVisit(error: unknown): boolean;
  /** Ends when the view is left. */
  readonly signal: AbortSignal;
}
