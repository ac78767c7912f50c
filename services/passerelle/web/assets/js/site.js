// What JavaScript adds to every page: forms and links of `hx-*` attributes swap a part instead of loading anew.
import 'htmx.org';
